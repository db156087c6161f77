//! Whether enough trusted keys vouch for code: after it was fetched, and again before each run of what is kept.

use std::time::SystemTime;

use crate::config::Source;
use crate::node::{Node, blocking, refusals};
use crate::problem::Problem;
use crate::proxylet::digest::{Digest, Digested};
use crate::proxylet::trust::{Signer, TrustError};

/// Bytes, the file of signatures that vouched for them, and whose these are; empty where none were asked for.
pub(super) struct Verified {
    pub(super) bytes: Digested,
    pub(super) signatures: Vec<u8>,
    pub(super) signers: Vec<Signer>,
}

impl Node {
    /// Gives the bytes back with the signatures that vouch for them and their signers; without, where the node asks for
    /// none. For kept code the kept signatures count, and where they do not suffice, those that are beside its source now.
    pub(super) async fn verify(
        &self,
        url: &Source,
        bytes: Digested,
        wanted: Option<Digest>,
        kept: bool,
    ) -> Result<Verified, Box<Problem>> {
        if self.trust.is_none() {
            return Ok(Verified { bytes, signatures: Vec::new(), signers: Vec::new() });
        }
        let digest = bytes.digest();
        // Not the code that was asked for: it is refused for that, whoever signed it.
        if wanted.is_some_and(|wanted| wanted != digest) {
            return Ok(Verified { bytes, signatures: Vec::new(), signers: Vec::new() });
        }
        let (mut bytes, mut refused) = (bytes, None);
        if kept {
            let signatures = self.state.signatures(&digest)?;
            let (judged, back) = self.judge(bytes, signatures).await?;
            match judged {
                Ok((signatures, signers)) => return Ok(Verified { bytes: back, signatures, signers }),
                Err(error) => refused = Some(refusals::trust(url, &error)),
            }
            bytes = back;
        }
        let fetched = self.fetcher.signatures(url).await.map_err(|e| refusals::signatures(url, &e));
        let signatures = match (fetched, refused) {
            // Where the source has none, or cannot be asked, what is wrong is that the kept ones do not suffice.
            (Err(_), Some(refused)) => return Err(refused),
            (Ok(none), Some(refused)) if none.is_empty() => return Err(refused),
            (fetched, _) => fetched?,
        };
        let (judged, bytes) = self.judge(bytes, signatures).await?;
        let (signatures, signers) = judged.map_err(|error| refusals::trust(url, &error))?;
        if kept {
            self.state.put_signatures(&digest, &signatures)?;
        }
        Ok(Verified { bytes, signatures, signers })
    }

    /// What signatures are worth for these bytes, on a thread that may compute.
    async fn judge(
        &self,
        bytes: Digested,
        signatures: Vec<u8>,
    ) -> Result<(Result<(Vec<u8>, Vec<Signer>), TrustError>, Digested), Box<Problem>> {
        let trust = self.trust.clone();
        blocking(move || {
            let signers =
                trust.map_or(Ok(Vec::new()), |trust| trust.check(&bytes, &signatures, SystemTime::now()));
            (signers.map(|signers| (signatures, signers)), bytes)
        })
        .await
    }
}
