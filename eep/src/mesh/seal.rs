//! Reports of measurements carry their origin's signature and certificate: whoever passes them on cannot change them,
//! and nobody whom no trusted domain vouches for can add nodes to the map.

use std::sync::Arc;
use std::time::SystemTime;

use minicbor::{Decode, Encode};
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use topology::NodeId;
use topology::soar::Seal;
use webpki::EndEntityCert;

use crate::mesh::identity::Identity;
use crate::mesh::trust::{CHAIN_MAX, SharedDomains};

/// What is signed begins with this, so that a signature means a report and nothing else.
const CONTEXT: &[u8] = b"eep soar report\0";

#[derive(Encode, Decode)]
#[cbor(map)]
struct Signed {
    #[n(0)]
    chain: Vec<minicbor::bytes::ByteVec>,
    #[n(1)]
    scheme: u16,
    #[cbor(n(2), with = "minicbor::bytes")]
    signature: Vec<u8>,
}

/// Signs with the node's key, and checks signatures of others.
pub(super) struct Signer {
    pub(super) identity: Arc<Identity>,
    pub(super) domains: SharedDomains,
}

fn signed_bytes(report: &[u8]) -> Vec<u8> {
    [CONTEXT, report].concat()
}

impl Signer {
    fn check(&self, origin: NodeId, bytes: &[u8], seal: &[u8]) -> Option<()> {
        let signed: Signed = minicbor::decode(seal).ok()?;
        if signed.chain.len() > CHAIN_MAX {
            return None;
        }
        let chain: Vec<CertificateDer<'_>> =
            signed.chain.iter().map(|c| CertificateDer::from(c.as_slice())).collect();
        let peer = self.domains.judge(&chain, SystemTime::now()).ok().filter(|peer| peer.id == origin)?;
        let scheme = SignatureScheme::from(signed.scheme);
        let mapping = self.domains.algorithms().mapping;
        let (_, algorithms) = mapping.iter().find(|(known, _)| *known == scheme)?;
        let leaf = EndEntityCert::try_from(chain.first()?).ok()?;
        let message = signed_bytes(bytes);
        let holds = algorithms.iter().any(|a| leaf.verify_signature(*a, &message, &signed.signature).is_ok());
        (holds && peer.id == origin).then_some(())
    }
}

impl Seal for Signer {
    fn seal(&self, bytes: &[u8]) -> Vec<u8> {
        let key = self.identity.key();
        let schemes = self.domains.algorithms().supported_schemes();
        let signed = key.key.choose_scheme(&schemes).and_then(|signer| {
            let signature = signer.sign(&signed_bytes(bytes)).ok()?;
            let chain = key.cert.iter().map(|c| c.to_vec().into()).collect();
            minicbor::to_vec(Signed { chain, scheme: signer.scheme().into(), signature }).ok()
        });
        // Without a signature nobody believes the report: the node is not on the map, which its operator sees.
        signed.unwrap_or_default()
    }

    fn holds(&self, origin: NodeId, bytes: &[u8], seal: &[u8]) -> bool {
        self.check(origin, bytes, seal).is_some()
    }
}
