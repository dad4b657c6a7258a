use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::RecordId;

/// The ids that are at work in a transaction of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<RecordId>>>);

impl UnderWay {
    /// Takes the place of `id`, unless somebody has it.
    pub(super) fn enter(&self, id: RecordId) -> Option<Place> {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(id).then(|| Place {
            id,
            under_way: self.clone(),
        })
    }
}

/// The place of one id, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    id: RecordId,
    under_way: UnderWay,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut ids = self
            .under_way
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ids.remove(&self.id);
    }
}
