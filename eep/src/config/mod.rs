//! What operators write: node files, service manifests, and the words with which they are refused.
//!
//! | module | what |
//! | --- | --- |
//! | [`node_file`] | the node file and manifests, read and checked |
//! | [`service`] | one service, as files and load requests describe it |
//! | [`name`], [`source`] | names and addresses |
//! | [`mesh`] | the mesh that a node is in |
//! | [`trust`] | whose signatures code needs |
//! | [`web`] | services that are placed together |
//! | [`settings`] | a proxylet's own configuration against its JSON Schema |
//! | [`diagnostic`] | file, line, column, caret and fix |
//!
//! A key of a later version is refused by name rather than ignored, so that nobody believes it to be in force.

pub mod diagnostic;
pub mod health;
pub mod mesh;
pub mod name;
pub mod node_file;
pub mod service;
pub mod settings;
pub mod source;
pub mod trust;
pub mod web;

pub use diagnostic::FileError;
pub use name::ServiceName;
pub use node_file::NodeFile;
pub use service::ServiceEntry;
pub use source::Source;
