//! The name of a connection, and tables keyed by it.
//!
//! A slot of the connection table is reused after a close. The generation tells its tenants apart,
//! so that a late event, password result or timer finds nobody instead of the wrong connection.
//! Owns no connection and knows no socket.

/// Low bits of a poll token that hold the slot; the rest holds as much of the generation as fits
/// (44 bits on a 64-bit machine, 12 on a 32-bit one: stale events live for one turn only).
const SLOT_BITS: u32 = 20;

/// Slots for clients. The [`RESERVED_SLOTS`] token values above them are not.
pub const MAX_SLOTS: usize = (1 << SLOT_BITS) - RESERVED_SLOTS;

/// Token values at the top of the slot range for things that are not clients: listeners, signals.
pub const RESERVED_SLOTS: usize = 64;

/// One connection during its life: a slot and the number of its tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    /// The connection in `slot` (below [`MAX_SLOTS`]; `None` if it is not) with this generation.
    #[must_use]
    pub fn new(slot: usize, generation: u32) -> Option<Self> {
        let small = u32::try_from(slot).ok()?;
        (slot < MAX_SLOTS).then_some(Self { slot: small, generation })
    }

    /// The index in the connection table.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// Which of all tenants of all slots it is, counting from 1, until the count overflows.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// The value under which the connection is registered with the poll.
    #[must_use]
    pub fn token(self) -> usize {
        ((self.generation as usize) << SLOT_BITS) + self.slot as usize
    }

    /// The slot that a token refers to. Compare [`ConnId::token`] of its tenant before believing
    /// it.
    #[must_use]
    pub fn slot_of_token(token: usize) -> usize {
        token & ((1 << SLOT_BITS) - 1)
    }
}

/// The token of the `n`th thing (below [`RESERVED_SLOTS`]) that is not a client.
#[must_use]
pub const fn reserved_token(n: usize) -> usize {
    assert!(n < RESERVED_SLOTS);
    MAX_SLOTS + n
}

/// The token of one of several things that share the reserved value `n` and come and go: no two of
/// them have the same `number`.
#[must_use]
pub const fn tagged_token(n: usize, number: usize) -> usize {
    (number << SLOT_BITS) + reserved_token(n)
}

/// A table of what belongs to connections: dense, and blind to the ids of former tenants. The
/// values are boxed, so that one in a late slot does not keep room for all those before it, and the
/// table needs little memory when it grows.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Option<(u32, Box<T>)>>,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// Stores `value` under `id`, replacing whatever a former tenant left.
    pub fn insert(&mut self, id: ConnId, value: T) {
        if self.entries.len() <= id.slot() {
            self.entries.resize_with(id.slot() + 1, || None);
        }
        if let Some(entry) = self.entries.get_mut(id.slot())
            && entry.replace((id.generation, Box::new(value))).is_none()
        {
            self.len += 1;
        }
    }

    /// The value stored under exactly this id.
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&T> {
        match self.entries.get(id.slot()) {
            Some(Some((generation, value))) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The same, mutably.
    #[must_use]
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        match self.entries.get_mut(id.slot()) {
            Some(Some((generation, value))) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// Removes the value stored under exactly this id. Free room at the end is given back.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        let (_, value) = self.entries.get_mut(id.slot())?.take()?;
        self.len -= 1;
        while let Some(None) = self.entries.last() {
            self.entries.pop();
        }
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(*value)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values, by slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().flatten().map(|(_, value)| &mut **value)
    }

    /// All entries, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| {
            let (generation, value) = entry.as_ref()?;
            Some((ConnId::new(slot, *generation)?, &**value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_tenant_is_not_found() {
        let old = ConnId::new(3, 7).unwrap();
        let new = ConnId::new(3, 8).unwrap();
        let mut slots = Slots::default();
        slots.insert(old, "old");
        assert_eq!(slots.remove(old), Some("old"));
        slots.insert(new, "new");
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&"new"));
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.iter().collect::<Vec<_>>(), vec![(new, &"new")]);
    }

    #[test]
    fn tokens_tell_slots_tenants_and_reserved_values_apart() {
        let id = ConnId::new(MAX_SLOTS - 1, 5).unwrap();
        assert_eq!(ConnId::slot_of_token(id.token()), MAX_SLOTS - 1);
        assert_ne!(id.token(), ConnId::new(MAX_SLOTS - 1, 6).unwrap().token());
        assert_eq!(ConnId::new(MAX_SLOTS, 0), None);
        assert!(ConnId::slot_of_token(reserved_token(0)) >= MAX_SLOTS);
    }

    #[test]
    fn things_that_come_and_go_share_a_reserved_value_and_no_token() {
        assert_eq!(reserved_token(3), MAX_SLOTS + 3);
        let tokens: Vec<_> = (0..5).map(|number| tagged_token(3, number)).collect();
        assert_eq!(tokens[0], reserved_token(3));
        assert!(tokens.windows(2).all(|two| two[0] < two[1]));
        assert!(tokens.iter().all(|token| ConnId::slot_of_token(*token) == reserved_token(3)));
    }

    #[test]
    fn an_empty_table_is_empty() {
        let mut slots = Slots::default();
        assert_eq!((slots.is_empty(), slots.len()), (true, 0));
        for n in 0..3 {
            slots.insert(ConnId::new(n, 1).unwrap(), n);
        }
        assert_eq!((slots.is_empty(), slots.len()), (false, 3));
    }

    #[test]
    fn room_is_given_back() {
        let mut slots = Slots::default();
        let ids: Vec<_> = (0..1000).map(|n| ConnId::new(n, 1).unwrap()).collect();
        ids.iter().for_each(|id| slots.insert(*id, 0u64));
        let full = slots.entries.capacity();
        // Not at once: a table that breathes does not move at every step.
        ids[500..].iter().for_each(|id| assert_eq!(slots.remove(*id), Some(0)));
        assert_eq!(slots.entries.capacity(), full);
        ids[200..500].iter().for_each(|id| assert_eq!(slots.remove(*id), Some(0)));
        assert!((400..full / 2).contains(&slots.entries.capacity()), "twice what is needed");
        ids[..200].iter().for_each(|id| assert_eq!(slots.remove(*id), Some(0)));
        assert!(slots.is_empty());
        assert!(slots.entries.capacity() <= 8);
    }
}
