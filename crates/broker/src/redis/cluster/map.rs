//! Who owns which slot, from what the nodes of a Cluster say (`CLUSTER NODES`). Pure.
//!
//! Nodes may disagree while something changes. Of several who claim a slot the one with the highest epoch of its
//! configuration has it: that is the rule by which the nodes themselves come to agree.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::time::Instant;

use super::slot::SLOTS;
use crate::redis::address::Address;

/// The most masters that are taken note of.
const MAX_MASTERS: usize = 1024;

/// A master as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    id: String,
    address: Address,
    /// The node that speaks is this one.
    is_itself: bool,
    epoch: u64,
    /// First and last of each range.
    slots: Vec<(u16, u16)>,
    /// Slots that it is giving to the node with this id.
    leaving: Vec<(u16, String)>,
}

/// Which master owns which slot.
#[derive(Debug)]
pub(in crate::redis) struct SlotMap {
    masters: Vec<Address>,
    /// For each slot the place of its master, plus one; 0 if it has none.
    owners: Box<[u16]>,
    /// Slots that are on their way to another master.
    leaving: BTreeMap<u16, Address>,
    /// When all masters were last known to see it so.
    agreed: Mutex<Option<Instant>>,
}

impl SlotMap {
    pub(super) fn empty() -> Self {
        Self {
            masters: Vec::new(),
            owners: vec![0; usize::from(SLOTS)].into(),
            leaving: BTreeMap::new(),
            agreed: Mutex::new(None),
        }
    }

    /// Brings together what several nodes say. Says whether all masters have spoken, and agree.
    pub(super) fn of(said: &[Vec<Seen>]) -> (Self, bool) {
        let mut map = Self::empty();
        let mut all_agree = true;
        let mut best: Vec<Option<&Seen>> = vec![None; usize::from(SLOTS)];
        for seen in said.iter().flatten() {
            for (first, last) in &seen.slots {
                for best in &mut best[usize::from(*first)..=usize::from(*last)] {
                    all_agree &= best.is_none_or(|best| best.id == seen.id);
                    let rank = |seen: &Seen| (seen.epoch, seen.is_itself);
                    if best.is_none_or(|best| rank(seen) > rank(best)) {
                        *best = Some(seen);
                    }
                }
            }
        }
        let mut last: Option<(&Seen, u16)> = None;
        for (slot, best) in best.iter().enumerate() {
            let Some(best) = *best else { continue };
            let place = match last {
                Some((before, place)) if before.address == best.address => Some(place),
                _ => map.place(&best.address),
            };
            if let Some(place) = place {
                map.owners[slot] = place;
                last = Some((best, place));
            }
        }
        let speaks = |address: &Address| said.iter().flatten().any(|seen| seen.is_itself && seen.address == *address);
        all_agree &= map.masters.iter().all(speaks);
        for seen in said.iter().flatten().filter(|seen| seen.is_itself) {
            for (slot, target) in &seen.leaving {
                let target = said.iter().flatten().find(|seen| seen.id == *target).map(|seen| seen.address.clone());
                if let Some(target) = target.filter(|_| map.owner(*slot) == Some(&seen.address)) {
                    map.leaving.insert(*slot, target);
                }
            }
        }
        // In an order that does not depend on who answered first.
        (map.sorted(), all_agree)
    }

    fn sorted(mut self) -> Self {
        let mut order: Vec<usize> = (0..self.masters.len()).collect();
        order.sort_by(|a, b| self.masters[*a].cmp(&self.masters[*b]));
        let mut places = vec![0; order.len() + 1];
        for (new, old) in order.iter().enumerate() {
            // At most MAX_MASTERS.
            places[old + 1] = new as u16 + 1;
        }
        self.owners.iter_mut().for_each(|owner| *owner = places[usize::from(*owner)]);
        self.masters.sort();
        self
    }

    fn place(&mut self, address: &Address) -> Option<u16> {
        let known = self.masters.iter().position(|master| master == address);
        let index = known.or_else(|| {
            (self.masters.len() < MAX_MASTERS).then(|| {
                self.masters.push(address.clone());
                self.masters.len() - 1
            })
        });
        index.map(|index| index as u16 + 1)
    }

    /// The same but that `slot` is at `address`.
    pub(super) fn with(&self, slot: u16, address: &Address) -> Self {
        let mut map = Self {
            masters: self.masters.clone(),
            owners: self.owners.clone(),
            leaving: self.leaving.clone(),
            agreed: Mutex::new(self.agreed()),
        };
        map.leaving.remove(&slot);
        if let Some(place) = map.place(address) {
            map.owners[usize::from(slot)] = place;
        }
        map
    }

    /// Who has a slot.
    pub(in crate::redis) fn owner(&self, slot: u16) -> Option<&Address> {
        let place = *self.owners.get(usize::from(slot))?;
        self.masters.get(usize::from(place).checked_sub(1)?)
    }

    /// Where a slot is on its way to.
    pub(super) fn target(&self, slot: u16) -> Option<&Address> {
        self.leaving.get(&slot)
    }

    /// All that have slots.
    pub(in crate::redis) fn masters(&self) -> &[Address] {
        &self.masters
    }

    /// A tag whose slot `master` has, made of `start` and a number.
    pub(in crate::redis) fn tag_at(&self, master: &Address, start: &str) -> Option<String> {
        let place = self.masters.iter().position(|known| known == master)? as u16 + 1;
        let mut tags = (0..1 << 20).map(|number| format!("{start}{number}"));
        tags.find(|tag| self.owners[usize::from(super::slot::of(tag.as_bytes()))] == place)
    }

    /// When all masters last saw it so; whatever was published before went by it.
    pub(super) fn agreed(&self) -> Option<Instant> {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn agree(&self, at: Option<Instant>) {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.masters == other.masters && self.owners == other.owners && self.leaving == other.leaving
    }
}

/// Reads what the node at `asked` says. With TLS names are preferred, because certificates have them.
pub(super) fn read(text: &str, asked: &Address, is_tls: bool) -> Vec<Seen> {
    text.lines().filter_map(|line| read_line(line, asked, is_tls)).collect()
}

fn read_line(line: &str, asked: &Address, is_tls: bool) -> Option<Seen> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [id, address, flags, _, _, _, epoch, _, ref slots @ ..] = words[..] else {
        return None;
    };
    let has = |flag: &str| flags.split(',').any(|set| set == flag);
    if !has("master") || has("noaddr") || has("handshake") {
        return None;
    }
    let is_itself = has("myself");
    let address = read_address(address, is_tls).or_else(|| is_itself.then(|| asked.clone()))?;
    let number = |text: &str| text.parse().ok().filter(|slot: &u16| *slot < SLOTS);
    let (mut owned, mut leaving) = (Vec::new(), Vec::new());
    for word in slots {
        if let Some(moving) = word.strip_prefix('[') {
            if let Some((slot, target)) = moving.trim_end_matches(']').split_once("->-")
                && let Some(slot) = number(slot)
            {
                leaving.push((slot, target.to_owned()));
            }
            continue;
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (number(first)?, number(last)?);
        if first <= last {
            owned.push((first, last));
        }
    }
    Some(Seen { id: id.to_owned(), address, is_itself, epoch: epoch.parse().ok()?, slots: owned, leaving })
}

/// `ip:port@bus[,name[,…]]`.
fn read_address(text: &str, is_tls: bool) -> Option<Address> {
    let (server, rest) = text.split_once('@')?;
    let address = Address::parse(server)?;
    let name = rest.split(',').nth(1).filter(|name| is_tls && !name.is_empty() && !name.contains('='));
    match name {
        Some(name) => Address::parse(&format!("{name}:{}", address.port)),
        None => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address { host: "10.0.0.1".to_owned(), port }
    }

    fn said(itself: u16, lines: &[(u16, u64, &str)]) -> Vec<Seen> {
        let line = |(port, epoch, slots): &(u16, u64, &str)| {
            let flags = if *port == itself { "myself,master" } else { "master" };
            format!("id{port} 10.0.0.1:{port}@1{port},name{port}.example {flags} - 0 0 {epoch} connected {slots}\n")
        };
        let text: String = lines.iter().map(line).collect();
        let replica = "idr 10.0.0.1:9@19 slave id1 0 0 1 connected\n";
        read(&(text + replica), &address(itself), false)
    }

    #[test]
    fn nodes_that_agree_make_a_map() {
        let lines = [(1, 1, "0-8191"), (2, 2, "8192-16383")];
        let (map, agree) = SlotMap::of(&[said(1, &lines), said(2, &lines)]);
        assert!(agree);
        assert_eq!(map.masters(), [address(1), address(2)]);
        assert_eq!(
            (map.owner(0), map.owner(8191), map.owner(8192)),
            (Some(&address(1)), Some(&address(1)), Some(&address(2)))
        );
        let (other_way_round, _) = SlotMap::of(&[said(2, &lines), said(1, &lines)]);
        assert!(map.is_like(&other_way_round));
        // One alone knows as much, but the other may see it otherwise.
        let (alone, agree) = SlotMap::of(&[said(2, &lines)]);
        assert!(alone.is_like(&map) && !agree);
        let tag = map.tag_at(&address(2), "x").unwrap();
        assert_eq!(map.owner(super::super::slot::of(tag.as_bytes())), Some(&address(2)));
    }

    #[test]
    fn the_newer_claim_wins_and_is_a_disagreement() {
        let old = said(1, &[(1, 1, "0-16383"), (2, 2, "")]);
        let new = said(2, &[(1, 1, "0-99 101-16383"), (2, 3, "100")]);
        for said in [[old.clone(), new.clone()], [new, old]] {
            let (map, agree) = SlotMap::of(&said);
            assert!(!agree);
            assert_eq!((map.owner(99), map.owner(100)), (Some(&address(1)), Some(&address(2))));
        }
    }

    #[test]
    fn a_slot_on_its_way_has_a_target() {
        let lines = [(1, 1, "0-16383 [7->-id2] [8-<-id2]"), (2, 2, "")];
        let (map, _) = SlotMap::of(&[said(1, &lines)]);
        assert_eq!((map.target(7), map.target(8)), (Some(&address(2)), None));
        let moved = map.with(7, &address(2));
        assert_eq!((moved.owner(7), moved.target(7)), (Some(&address(2)), None));
    }

    #[test]
    fn names_are_for_tls_and_nonsense_is_skipped() {
        let line = "a 10.0.0.1:1@11,db.example,shard-id=x myself,master - 0 0 1 connected 5";
        let asked = Address { host: "asked".to_owned(), port: 7 };
        let host = |line, tls| read(line, &asked, tls).first().map(|seen| seen.address.host.clone());
        assert_eq!(host(line, false).as_deref(), Some("10.0.0.1"));
        assert_eq!(host(line, true).as_deref(), Some("db.example"));
        assert_eq!(host("a :1@11 myself,master - 0 0 1 connected 5", true).as_deref(), Some("asked"));
        for bad in
            ["", "a b c", "a 10.0.0.1:1@11 master - 0 0 x connected", "a 10.0.0.1:1@11 master - 0 0 1 connected 16384"]
        {
            assert_eq!(host(bad, false), None, "{bad}");
        }
    }
}
