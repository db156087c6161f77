//! What peers have, what they look for, and how long they stay.
//!
//! | file | what |
//! | --- | --- |
//! | `content` | files, their names and how popular they are |
//! | `life` | how long peers and relations last |
//! | `klemm` | how many searches a session has, and when |
//! | `preset` | whole networks under a name |

pub mod content;
pub mod klemm;
pub mod life;
pub mod preset;

pub use content::Catalogue;
pub use life::Life;
pub use preset::Preset;
