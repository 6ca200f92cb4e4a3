//! Forgetting on purpose: everything, a name, a type, a zone, what is negative, what is bogus.
//!
//! It owns the walk through the tables, which holds each lock for a few entries only. Every flush starts a new epoch first,
//! so that an answer to a question that was sent before is not stored afterwards; and one more at its end, so that no
//! worker's first level keeps what it read meanwhile.

use wire::{NameRef, Rcode, Rtype};

use crate::cache::Store;
use crate::message::{Handle, Message};
use crate::sets::{Security, Set};
use crate::shard;

impl Store {
    /// Forgets everything. Returns how many messages and sets there were, as all of these do.
    pub fn flush_all(&self) -> usize {
        self.flushing(|| {
            self.denials.clear();
            shard::clear(&self.messages) + shard::clear(&self.sets)
        })
    }

    /// Forgets what is known of a name: questions for it and sets of it, every type, class and CD bit.
    pub fn flush_name(&self, name: NameRef<'_>) -> usize {
        self.flush(name, |asked, _| asked == name, |set| owner_of(set).is_some_and(|owner| owner == name))
    }

    /// Forgets one type of a name.
    pub fn flush_type(&self, name: NameRef<'_>, rtype: Rtype) -> usize {
        let is = |set: &Set| set.view().is_some_and(|view| view.rtype == rtype && view.owner == name);
        self.flush(name, |asked, message| message.qtype() == rtype && asked == name, is)
    }

    /// Forgets a name and everything below it.
    pub fn flush_zone(&self, name: NameRef<'_>) -> usize {
        let below = |owner: NameRef<'_>| owner.is_subdomain_of(name);
        self.flush(name, |asked, _| below(asked), |set| owner_of(set).is_some_and(below))
    }

    /// Forgets every answer that says no: NXDOMAIN, no data, and failures (Unbound's `flush_negative`).
    pub fn flush_negative(&self) -> usize {
        let empty = |message: &Message| message.parts().is_none_or(|parts| parts.answer == 0);
        let negative = |message: &Message| message.rcode != Rcode::NOERROR || empty(message);
        self.flushing(|| {
            self.denials.clear();
            shard::sweep(&self.messages, negative)
        })
    }

    /// Forgets every answer and set that was proven wrong (Unbound's `flush_bogus`).
    pub fn flush_bogus(&self) -> usize {
        self.flushing(|| {
            shard::sweep(&self.messages, |message| message.security == Security::Bogus)
                + shard::sweep(&self.sets, |set| set.security == Security::Bogus)
        })
    }

    fn flushing(&self, sweep: impl FnOnce() -> usize) -> usize {
        self.next_epoch();
        let gone = sweep();
        self.next_epoch();
        gone
    }

    fn flush(
        &self,
        name: NameRef<'_>,
        mut message_goes: impl FnMut(NameRef<'_>, &Message) -> bool,
        set_goes: impl FnMut(&Set) -> bool,
    ) -> usize {
        // Messages first: some have their name from a set. One whose set is gone already is of no use to anybody.
        self.flushing(|| {
            // What denies the name stands at others.
            self.denials.forget(name);
            shard::sweep(&self.messages, |message| self.asked(message, &mut message_goes).unwrap_or(true))
                + shard::sweep(&self.sets, set_goes)
        })
    }

    /// Shows the name a message was asked for.
    pub(crate) fn asked<T>(&self, message: &Message, mut show: impl FnMut(NameRef<'_>, &Message) -> T) -> Option<T> {
        let parts = message.parts()?;
        match (parts.name, parts.handles.iter().next()) {
            (Some(name), _) => Some(show(name, message)),
            (None, Some(first)) if first != Handle::MADE => {
                self.look_at(first, |set| owner_of(set).map(|name| show(name, message)))
            }
            _ => None,
        }
    }
}

fn owner_of(set: &Set) -> Option<NameRef<'_>> {
    set.view().map(|view| view.owner)
}
