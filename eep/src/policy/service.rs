//! The policy of one service: what is in force, shared by the service's thread and those who change it.
//!
//! A change is read and checked, written down, and only then in force, all of it at once. What fails changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use policies::facts::{Fact, Facts};
use policies::{Decision, Policy};
use serde::Serialize;

use crate::policy::alarms::{AlarmView, Alarms};
use crate::policy::audit::Audit;
use crate::policy::counts::{Counts, Key};
use crate::policy::facts::{Counted, Taker, wanted};
use crate::policy::files::Folder;
use crate::policy::generation::{Generation, Kept, Origin, Reading, Trial};
use crate::policy::reading::{kept_text, load_kept, read, refused, texts_of, unreadable};
use crate::policy::texts::Texts;
use crate::policy::unenforced::{Asker, unenforced};
use crate::policy::usage::Usage;
use crate::policy::watch::{Look, Watch};
use crate::policy::whereabouts::Whereabouts;
use crate::problem::Problem;
use crate::proxylet::digest::Digest;
use crate::state::State;

/// A generation in force.
#[derive(Debug)]
pub struct InForce {
    policy: Policy,
    /// By the numbers of outcomes.
    counters: Vec<Arc<AtomicU64>>,
}

impl InForce {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Counts a decision, and what a rule in shadow would have decided.
    pub(crate) fn count(&self, decision: &Decision<'_>) {
        self.add(decision.outcome, 1);
        if let Some(shadow) = decision.shadow {
            self.add(shadow.outcome, 1);
        }
    }

    pub(crate) fn add(&self, outcome: u32, n: u64) {
        if let Some(counter) = self.counters.get(outcome as usize) {
            counter.fetch_add(n, Relaxed);
        }
    }
}

/// The policy of one service.
#[derive(Debug, Default)]
pub struct ServicePolicy {
    now: RwLock<Option<Arc<InForce>>>,
    counts: Counts,
    audit: Audit,
    failures: AtomicU64,
    reloads_failed: AtomicU64,
    usage: Mutex<Usage>,
    usage_is_kept: AtomicBool,
    alarms: Mutex<(Taker, Alarms)>,
    book: Mutex<Book>,
    /// Who asks; of a proxylet known once it is there.
    asker: Mutex<Asker>,
    /// Where peers are; known once the service has run.
    whereabouts: OnceLock<Arc<Whereabouts>>,
    /// Whether it is what is on disk.
    is_read: AtomicBool,
}

#[derive(Debug, Default)]
struct Book {
    kept: Kept,
    watch: Watch,
    trouble: Option<Trouble>,
}

/// Why the sets in force are not those that lie on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Trouble {
    /// Since when, seconds since 1970-01-01T00:00:00Z.
    pub since_s: u64,
    /// What is wrong with which file, in a sentence.
    pub what: String,
    /// All that is wrong, with the lines of the files.
    pub report: String,
}

/// What can be known of a service's policy.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PolicyView {
    /// The generation in force; 0 for none.
    pub generation: u64,
    /// The policy's name.
    pub policy: Option<String>,
    /// The file that it was read from.
    #[schema(value_type = Option<String>)]
    pub file: Option<PathBuf>,
    /// Whether the whole policy is in shadow: it decides, and nothing changes.
    pub shadow: bool,
    /// When the generation was read, seconds since 1970-01-01T00:00:00Z.
    pub at_s: Option<u64>,
    /// What happens unless it is confirmed.
    pub trial: Option<Trial>,
    /// Why the sets in force are not those that lie on disk.
    pub stale: Option<Trouble>,
    /// Whether the policy's own file is another by now; it is in force when it is applied.
    pub file_differs: bool,
    /// Its alarms.
    pub alarms: Vec<AlarmView>,
    /// The share of each budget that is used, 1 and more where it is used up.
    #[schema(value_type = Object)]
    pub budgets: BTreeMap<String, f64>,
    /// Sections, settings, rules and facts that are read and checked, and that nothing on this node carries out.
    pub not_enforced: Vec<String>,
}

/// What came of a change.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Applied {
    /// What is in force now.
    #[serde(flatten)]
    pub now: PolicyView,
    /// Warnings about the policy, with its lines; empty where there are none.
    pub warnings: String,
}

/// Something to tell the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A milestone.
    Info(String),
    /// Something that an operator should know.
    Warn(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_s() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

impl ServicePolicy {
    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// What is in force; none where the service has no policy.
    #[must_use]
    pub fn current(&self) -> Option<Arc<InForce>> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The decisions on record.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Says whether the proxylet asks for decisions.
    pub(crate) fn set_asked(&self, asked: bool) {
        self.set_asker(if asked { Asker::Proxylet } else { Asker::Node });
    }

    /// Says who asks for decisions.
    pub(crate) fn set_asker(&self, asker: Asker) {
        *lock(&self.asker) = asker;
    }

    /// Says what the node knows of where peers are.
    pub(crate) fn set_whereabouts(&self, whereabouts: &Arc<Whereabouts>) {
        // There is one for all services of a node.
        let _ = self.whereabouts.set(Arc::clone(whereabouts));
    }

    pub(super) fn whereabouts(&self) -> Option<&Whereabouts> {
        self.whereabouts.get().map(|whereabouts| &**whereabouts)
    }

    pub(crate) fn counts(&self) -> Vec<(Key, u64)> {
        self.counts.snapshot()
    }

    /// A condition could not be evaluated.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Conditions that could not be evaluated, and reloads that failed, ever.
    pub(crate) fn failures(&self) -> (u64, u64) {
        (self.failures.load(Relaxed), self.reloads_failed.load(Relaxed))
    }

    /// Counts bytes against budgets, by their places; those that are used up, a bit each.
    pub(crate) fn spend(&self, policy: &Policy, bytes: &[u64]) -> u32 {
        let (mut usage, now_s) = (lock(&self.usage), now_s());
        for (budget, bytes) in policy.budgets().iter().zip(bytes).filter(|(_, bytes)| **bytes > 0) {
            usage.add(budget, now_s, *bytes);
            self.usage_is_kept.store(false, Relaxed);
        }
        let used_up = policy.budgets().iter().map(|budget| usage.share(budget, now_s) >= 1.0);
        used_up.enumerate().fold(0, |all, (place, used_up)| all | u32::from(used_up) << place)
    }

    /// Puts the shares of budgets that are used among the facts.
    pub(crate) fn add_shares(&self, policy: &Policy, facts: &mut Facts) {
        let (usage, now_s) = (lock(&self.usage), now_s());
        for (place, budget) in policy.budgets().iter().enumerate() {
            facts.set(Fact::budget(place), usage.share(budget, now_s));
        }
    }

    fn shares(&self, policy: &Policy) -> BTreeMap<String, f64> {
        let (usage, now_s) = (lock(&self.usage), now_s());
        policy.budgets().iter().map(|b| (b.name.value.clone(), usage.share(b, now_s))).collect()
    }

    /// Writes down what is used of budgets, where that has changed. Call it once a second: so much is lost at most.
    pub(crate) fn keep_usage(&self, state: &State, service: &str) -> Result<(), Box<Problem>> {
        if self.usage_is_kept.swap(true, Relaxed) {
            return Ok(());
        }
        let usage = lock(&self.usage).clone();
        state.put_policy_usage(service, &usage).inspect_err(|_| self.usage_is_kept.store(false, Relaxed))?;
        Ok(())
    }

    /// Looks at the alarms; what to tell.
    pub(crate) fn look_at_alarms(&self, now_ns: u64, counted: Counted) -> Vec<Told> {
        let Some(now) = self.current().filter(|now| !now.policy().alarms().is_empty()) else {
            return Vec::new();
        };
        let mut alarms = lock(&self.alarms);
        let (taker, alarms) = &mut *alarms;
        let mut facts = taker.take(wanted(now.policy()), now_ns, counted);
        self.add_shares(now.policy(), &mut facts);
        alarms.look(now.policy(), &facts, now_s())
    }

    /// The generations that are kept, the oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Generation> {
        self.book().kept.history.clone()
    }

    /// What is in force.
    #[must_use]
    pub fn view(&self) -> PolicyView {
        let now = self.current();
        let policy = now.as_ref().map(|now| now.policy());
        let book = self.book();
        let current = book.kept.current();
        let knows = self.whereabouts().map(Whereabouts::knows).unwrap_or_default();
        PolicyView {
            generation: book.kept.in_force,
            policy: current.map(|g| g.policy.clone()),
            file: current.map(|g| g.file.clone()),
            shadow: policy.is_some_and(Policy::is_shadow),
            at_s: current.map(|g| g.at_s),
            trial: book.kept.trial,
            stale: book.trouble.clone(),
            file_differs: book.watch.main_differs(),
            alarms: policy.map(|p| lock(&self.alarms).1.view(p)).unwrap_or_default(),
            budgets: policy.map(|p| self.shares(p)).unwrap_or_default(),
            not_enforced: policy.map(|p| unenforced(p, *lock(&self.asker), knows)).unwrap_or_default(),
        }
    }

    /// Puts in force what was in force when the node ended.
    ///
    /// # Errors
    /// What is kept cannot be read, or is no policy for this version. The service must not run without it.
    pub fn restore(&self, state: &State, service: &str) -> Result<(), Box<Problem>> {
        let Some(kept) = state.policy(service)? else {
            self.is_read.store(true, Relaxed);
            return Ok(());
        };
        let policy = match kept.current() {
            Some(generation) => Some(load_kept(state, generation)?),
            None => None,
        };
        *lock(&self.usage) = state.policy_usage(service)?;
        self.usage_is_kept.store(true, Relaxed);
        let mut book = self.book();
        *book = Book { kept, ..Book::default() };
        self.put(policy);
        Ok(())
    }

    /// Reads a policy and puts it in force: from the file that is in force, unless another is named.
    ///
    /// # Errors
    /// What is wrong with it. Nothing was changed.
    pub fn apply(
        &self,
        state: &State,
        service: &str,
        file: Option<&Path>,
        now_s: u64,
        confirm_s: Option<u64>,
    ) -> Result<Applied, Box<Problem>> {
        let mut book = self.book();
        let file = match file.or(book.kept.current().map(|g| g.file.as_path())) {
            Some(file) => file.to_owned(),
            None => {
                return Err(Problem::new("no-policy", 422, "the service has no policy to be applied again")
                    .fix(format!("name a file: eep policy apply {service} FILE")));
            }
        };
        let (folder, main) = Folder::of(&file).map_err(|e| unreadable(&file, &e))?;
        let (policy, report, texts) = read(&folder, &main, book.kept.last + 1)?;
        let reading = Reading { policy: policy.name().to_owned(), file, main, texts: texts.digests() };
        let mut kept = book.kept.clone();
        kept.apply(reading, now_s, confirm_s);
        state.put_policy(service, &kept, &texts)?;
        *book = Book { kept, ..Book::default() };
        self.put(Some(policy));
        drop(book);
        Ok(Applied { now: self.view(), warnings: report.render(false) })
    }

    /// Whether the last that was applied from a file is what this file holds; any text of it will do where none is given.
    pub(crate) fn follows(&self, file: &Path, text: Option<&str>) -> bool {
        let book = self.book();
        let last = book.kept.history.iter().rfind(|g| g.file == file && g.origin == Origin::Applied);
        let main = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        last.is_some_and(|g| text.is_none_or(|text| g.texts.get(main) == Some(&Digest::of(text.as_bytes()))))
    }

    /// The texts of what is in force, and which of them is the policy's own file; none where nothing is.
    pub(crate) fn kept_texts(&self, state: &State) -> Result<Option<(String, Texts)>, Box<Problem>> {
        let book = self.book();
        let Some(generation) = book.kept.current() else { return Ok(None) };
        let main = generation.file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        Ok(Some((main.to_owned(), texts_of(state, generation)?)))
    }

    /// Keeps what is on trial.
    ///
    /// # Errors
    /// Nothing is, or it cannot be written down.
    pub fn confirm(&self, state: &State, service: &str) -> Result<PolicyView, Box<Problem>> {
        let mut book = self.book();
        let mut kept = book.kept.clone();
        kept.confirm().map_err(|e| refused(service, e))?;
        state.put_policy(service, &kept, &Texts::default())?;
        book.kept = kept;
        drop(book);
        Ok(self.view())
    }

    /// Puts an earlier generation in force again: the one before, unless another is named.
    ///
    /// # Errors
    /// There is none, or it cannot be written down. Nothing was changed.
    pub fn roll_back(
        &self,
        state: &State,
        service: &str,
        to: Option<u64>,
    ) -> Result<PolicyView, Box<Problem>> {
        self.go_to(&mut self.book(), state, service, to)?;
        Ok(self.view())
    }

    fn go_to(
        &self,
        book: &mut Book,
        state: &State,
        service: &str,
        to: Option<u64>,
    ) -> Result<(), Box<Problem>> {
        let mut kept = book.kept.clone();
        // Files that lie there now were not wanted: only what is written from now on is new.
        let seen = kept.current().map(crate::policy::watch::digests).unwrap_or_default();
        kept.roll_back(to, seen).map_err(|e| refused(service, e))?;
        let policy = match kept.current() {
            Some(generation) => Some(load_kept(state, generation)?),
            None => None,
        };
        state.put_policy(service, &kept, &Texts::default())?;
        *book = Book { kept, ..Book::default() };
        self.put(policy);
        Ok(())
    }

    fn put(&self, policy: Option<Policy>) {
        let force = policy.map(|policy| Arc::new(InForce { counters: self.counts.of(&policy), policy }));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = force;
        self.is_read.store(true, Relaxed);
    }

    /// Whether it is what is on disk; where not, [`Self::restore`] comes before the service runs.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read.load(Relaxed)
    }

    /// Looks whether a trial is over, and whether files of sets have changed. What to tell, and whether another
    /// generation is in force. Call it once a second.
    pub(crate) fn look(&self, state: &State, service: &str, now_s: u64) -> (Option<Told>, bool) {
        let mut book = self.book();
        if book.kept.is_overdue(now_s) {
            return self.end_trial(&mut book, state, service);
        }
        let Some(current) = book.kept.current().cloned() else { return (None, false) };
        let seen = book.kept.seen.clone();
        match book.watch.look(&current, &seen) {
            Look::Same => (None, false),
            Look::AsSeen => {
                book.trouble = None;
                (None, false)
            }
            Look::Changed => match self.reload(&mut book, state, service, &current, now_s) {
                Ok(true) => {
                    let line = format!(
                        "files of the policy's sets have changed: generation {} is in force",
                        book.kept.in_force
                    );
                    (Some(Told::Info(line)), true)
                }
                Ok(false) => (None, false),
                Err(problem) => {
                    self.reloads_failed.fetch_add(1, Relaxed);
                    let what = match &problem.place {
                        Some(place) => format!("{place}: {}", problem.title),
                        None => problem.title.clone(),
                    };
                    let since_s = book.trouble.as_ref().map_or(now_s, |t| t.since_s);
                    let report = problem.report.clone().unwrap_or_default();
                    let line = format!(
                        "the policy's sets cannot be reloaded, generation {} stays in force: {what}",
                        book.kept.in_force
                    );
                    book.trouble = Some(Trouble { since_s, what, report });
                    (Some(Told::Warn(line)), false)
                }
            },
        }
    }

    /// Nobody has confirmed.
    fn end_trial(&self, book: &mut Book, state: &State, service: &str) -> (Option<Told>, bool) {
        let was = book.kept.in_force;
        match self.go_to(book, state, service, None) {
            Ok(()) => {
                let line = match book.kept.in_force {
                    0 => format!("generation {was} was not confirmed in time: there is no policy any more"),
                    now => format!(
                        "generation {was} was not confirmed in time: generation {now} is in force again"
                    ),
                };
                (Some(Told::Warn(line)), true)
            }
            // It is tried again with the next look.
            Err(problem) => {
                (Some(Told::Warn(format!("generation {was} is not confirmed, and stays: {problem}"))), false)
            }
        }
    }

    /// Puts the policy in force with the sets that lie on disk now; whether they are others.
    fn reload(
        &self,
        book: &mut Book,
        state: &State,
        service: &str,
        current: &Generation,
        now_s: u64,
    ) -> Result<bool, Box<Problem>> {
        let (folder, main) = Folder::of(&current.file).map_err(|e| unreadable(&current.file, &e))?;
        let text = kept_text(state, current, &main)?;
        let over = crate::policy::texts::Over { path: &main, text, files: &folder };
        let (policy, _, texts) = read(&over, &main, book.kept.last + 1)?;
        let digests = texts.digests();
        book.trouble = None;
        if digests == current.texts {
            return Ok(false);
        }
        let reading =
            Reading { policy: policy.name().to_owned(), file: current.file.clone(), main, texts: digests };
        let mut kept = book.kept.clone();
        kept.reload(reading, now_s);
        state.put_policy(service, &kept, &texts)?;
        book.kept = kept;
        self.put(Some(policy));
        Ok(true)
    }
}
