//! Connections to an engine, and the facts it reports.

pub mod describe;
pub mod docker_context;
pub mod endpoint;
pub mod own_container;
pub mod ping;
pub mod probe;
pub mod raw;
pub mod ssh;
pub mod tls;
