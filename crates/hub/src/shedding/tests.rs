//! What gives way when a client reads too slowly.

use std::collections::VecDeque;

use proptest::prelude::*;
use ullim_broker::Window;

use super::*;
use crate::registry::Registry;

/// What waits, as text.
fn shown(outbox: &mut Outbox) -> Vec<String> {
    let frames = outbox.waiting().map(|waiting| waiting.frames.iter()).into_iter().flatten();
    let frames = frames.filter(|frame| !frame.bytes.is_empty());
    frames.map(|frame| String::from_utf8_lossy(&frame.bytes).into_owned()).collect()
}

fn tagged(channel: &str, time: u64) -> (Bytes, Tag) {
    let name = ChannelName::parse(channel).unwrap();
    (format!("{channel}{time}").into(), Tag { channel: name, window: Window::at(time), is_gap: false })
}

fn gap(channel: &ChannelName, window: Window) -> Bytes {
    format!("{channel}!{}-{}", window.from, window.to).into()
}

fn keys(count: usize) -> Vec<ChannelKey> {
    let mut registry = Registry::default();
    let name = |number: usize| ChannelName::parse(&number.to_string()).unwrap();
    (0..count).map(|number| registry.enter(&name(number), false, Default::default()).0).collect()
}

#[test]
fn the_oldest_give_way_and_one_gap_for_each_channel_stands_where_they_were() {
    let mut outbox = Outbox::default();
    outbox.push("reply".into(), false);
    for (channel, time) in [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)] {
        let (bytes, tag) = tagged(channel, time);
        outbox.push_tagged(bytes, tag);
    }
    assert_eq!(outbox.shed(5, gap), 3);
    assert_eq!(shown(&mut outbox), ["reply", "b!1-1", "a!1-2", "b2", "a3"]);
    outbox.push("more".into(), false);
    assert_eq!(outbox.shed(4, gap), 2);
    assert_eq!(shown(&mut outbox), ["reply", "b!1-2", "a!1-3", "more"], "what was told is told with it");
}

#[test]
fn what_has_begun_does_not_give_way() {
    let mut outbox = Outbox::default();
    let (bytes, tag) = tagged("a", 1);
    outbox.push_tagged(bytes, tag);
    outbox.waiting().unwrap().begun = true;
    let (bytes, tag) = tagged("a", 2);
    outbox.push_tagged(bytes, tag);
    assert_eq!(outbox.shed(0, gap), 1);
    assert_eq!(shown(&mut outbox), ["a1", "a!2-2"]);
}

proptest! {
    /// Against a list: only the newest of each channel waits, in the order in which they came; memory is bounded.
    #[test]
    fn only_the_newest_of_each_channel_waits(steps in prop::collection::vec((0usize..5, any::<bool>()), 0..500)) {
        struct Takes(usize);
        impl Outlet for Takes {
            fn write(&mut self, buffers: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let offered: usize = buffers.iter().map(|buffer| buffer.len()).sum();
                let taken = self.0.min(offered);
                self.0 -= taken;
                Ok(taken)
            }

            fn finish(&mut self) {}
        }
        let keys = keys(4);
        let mut outbox = Outbox::default();
        let mut model: VecDeque<(Option<usize>, String)> = VecDeque::new();
        let mut begun = false;
        for (number, (channel, reads)) in steps.into_iter().enumerate() {
            let text = format!("<{number:04}>");
            match keys.get(channel) {
                Some(key) => {
                    let first = usize::from(begun);
                    let mut place = 0;
                    model.retain(|(other, _)| {
                        place += 1;
                        place <= first || *other != Some(channel)
                    });
                    outbox.push_latest(text.clone().into(), *key, 0);
                    model.push_back((Some(channel), text));
                }
                None => {
                    outbox.push(text.clone().into(), false);
                    model.push_back((None, text));
                }
            }
            if reads {
                // One frame and a half.
                outbox.write_to(&mut Takes(9)).unwrap();
                let mut left = 9;
                while let Some((_, text)) = model.front_mut() {
                    let taken = left.min(text.len());
                    text.drain(..taken);
                    left -= taken;
                    begun = !text.is_empty() && text.len() < 6;
                    if !text.is_empty() {
                        break;
                    }
                    model.pop_front();
                }
            }
            begun &= !model.is_empty();
            let expected: Vec<_> = model.iter().map(|(_, text)| text.clone()).collect();
            prop_assert_eq!(shown(&mut outbox), expected);
            let places = outbox.waiting().map_or(0, |waiting| waiting.frames.len());
            prop_assert!(places <= 2 * (model.len() + MANY_EMPTY), "{} places for {}", places, model.len());
        }
    }
}
