//! What is measured. Each scenario connects a crew to a target, has messages published, and reports.
//!
//! * [`crew`]: who connects and hears what
//! * [`stage`]: the crew, connected and proven to hear; the measurement of a time
//! * [`fanout`]: one channel with many subscribers, at a rate or in a burst, on one node or several
//! * [`channels`]: many channels with few subscribers
//! * [`idle`]: connections that do nothing
//! * [`publish`]: what a publication costs Redis, kept or not
//! * [`storm`]: everybody comes at once, is cut, and comes back

pub mod channels;
pub mod crew;
pub mod fanout;
pub mod idle;
pub mod publish;
pub mod stage;
pub mod storm;
