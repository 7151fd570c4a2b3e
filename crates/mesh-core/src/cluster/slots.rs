use crate::resource::HealthStatus;

/// What decides about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) priority: u32,
    /// The number of its locality.
    pub(super) locality: u32,
    pub(super) weight: u32,
    pub(super) health: HealthStatus,
}

/// What decides about each endpoint, by number.
#[derive(Debug)]
pub(super) enum Slots {
    /// The same about all, as in most clusters; and how many they are.
    Alike(Slot, u32),
    /// One for each.
    Each(Box<[Slot]>),
}

impl From<Vec<Slot>> for Slots {
    fn from(slots: Vec<Slot>) -> Self {
        match slots.first() {
            Some(first) if slots.iter().all(|slot| slot == first) => {
                Self::Alike(*first, slots.len() as u32)
            }
            _ => Self::Each(slots.into()),
        }
    }
}

impl Slots {
    pub(super) fn len(&self) -> u32 {
        match self {
            Self::Alike(_, count) => *count,
            Self::Each(slots) => slots.len() as u32,
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&Slot> {
        match self {
            Self::Alike(slot, count) => (number < *count).then_some(slot),
            Self::Each(slots) => slots.get(number as usize),
        }
    }

    /// The weight of the endpoint of that number, 0 when there is none.
    pub(super) fn weight(&self, number: u32) -> u32 {
        self.get(number).map_or(0, |slot| slot.weight)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        let (alike, each): (_, &[Slot]) = match self {
            Self::Alike(slot, count) => (Some((slot, *count)), &[]),
            Self::Each(slots) => (None, slots),
        };
        let alike = alike.into_iter();
        alike.flat_map(|(slot, count)| (0..count).map(move |_| slot)).chain(each)
    }
}
