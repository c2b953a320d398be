//! Who connects, and who of them hears what.

use std::ops::Range;

/// Connections that hear the same channels.
#[derive(Debug, Clone)]
pub struct Group {
    /// How many connections.
    pub connections: usize,
    /// The channels of each, which are numbered one after another.
    pub channels: Vec<String>,
    /// The number of the first.
    pub first_channel: u32,
    /// Who is subscribed and does not read.
    pub stalled: bool,
}

/// All groups, those first whose deliveries count.
#[derive(Debug, Clone, Default)]
pub struct Crew {
    groups: Vec<Group>,
    observed: usize,
}

impl Crew {
    /// Whose deliveries count.
    pub fn new(groups: Vec<Group>) -> Self {
        Self { observed: groups.len(), groups }
    }

    /// With a group that is there, and does not count.
    #[must_use]
    pub fn beside(mut self, group: Group) -> Self {
        if group.connections > 0 {
            self.groups.push(group);
        }
        self
    }

    /// All groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.groups.iter().map(|group| group.connections).sum()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.groups.iter().map(Group::subscriptions).sum()
    }

    /// How many must hear what is published on so many channels: those that read.
    pub fn hearing(&self, published: u32) -> usize {
        let hears = |group: &&Group| !group.stalled && group.first_channel < published;
        self.groups.iter().filter(hears).map(Group::subscriptions).sum()
    }

    /// The numbers of the subscriptions that count.
    pub fn observed(&self) -> Range<u32> {
        0..self.groups[..self.observed].iter().map(Group::subscriptions).sum::<usize>() as u32
    }

    /// The channel of each subscription, by their numbers.
    pub fn channels(&self) -> Vec<u32> {
        let group = |group: &Group| {
            let channels = group.first_channel..group.first_channel + group.channels.len() as u32;
            vec![channels; group.connections].into_iter().flatten()
        };
        self.groups.iter().flat_map(group).collect()
    }
}

impl Group {
    /// Connections that hear one channel.
    pub fn of_channel(connections: usize, name: &str, number: u32) -> Self {
        Self { connections, channels: vec![name.to_owned()], first_channel: number, stalled: false }
    }

    fn subscriptions(&self) -> usize {
        self.connections * self.channels.len()
    }
}
