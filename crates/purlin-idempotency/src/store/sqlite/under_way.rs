use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::RecordId;

/// The ids that units of work of this process are about. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<RecordId, Stage>>>);

/// How far somebody is with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is not known yet whether there is a record.
    Looking,
    /// There is none, and somebody does the work.
    Working,
}

impl UnderWay {
    /// Takes the place of `id`, unless somebody has it.
    pub(super) fn enter(&self, id: RecordId) -> Result<Place, Stage> {
        match self.lock().entry(id) {
            Entry::Occupied(stage) => Err(*stage.get()),
            Entry::Vacant(vacant) => {
                vacant.insert(Stage::Looking);
                Ok(Place {
                    id,
                    under_way: self.clone(),
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RecordId, Stage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one id, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    id: RecordId,
    under_way: UnderWay,
}

impl Place {
    pub(super) fn works(&self) {
        self.under_way.lock().insert(self.id, Stage::Working);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.id);
    }
}
