//! The policy plane of a node. The `policies` crate, which opens no file and knows no time, decides; here policies get
//! their texts, their generations and their place on disk.
//!
//! | module | what |
//! | --- | --- |
//! | [`files`] | a folder on disk, which nothing leads out of |
//! | [`service`] | the policy of one service: applied, confirmed, rolled back, reloaded |
//! | `reading` | from texts to a policy, or to what is wrong with it |
//! | [`generation`] | its generations: which is in force, which were, which one is on trial |
//! | `texts` | what a policy was read from |
//! | `carried` | a policy that goes to another node with its service |
//! | `watch` | whether files of sets have changed |
//! | `facts` | facts of the node and of the time |
//! | `whereabouts` | where peers are: systems by a table, regions by the mesh |
//! | `systems`, `prefixes` | the table: its file, and how it is looked into |
//! | `unenforced` | what nothing carries out |
//! | `usage` | volumes of budgets that are used |
//! | [`alarms`] | alarms as they stand |
//! | `counts` | decisions, counted |
//! | [`audit`] | decisions on record |
//! | [`explain`] | how they came about |

pub mod alarms;
pub mod audit;
pub(crate) mod carried;
pub(crate) mod counts;
pub mod explain;
pub(crate) mod facts;
pub mod files;
pub mod generation;
pub(crate) mod prefixes;
pub(crate) mod reading;
pub mod service;
pub(crate) mod systems;
pub(crate) mod texts;
pub(crate) mod unenforced;
pub(crate) mod usage;
mod watch;
pub mod whereabouts;
