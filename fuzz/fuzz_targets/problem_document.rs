//! A document from anybody: reading never panics, and what was read is written so that it reads
//! the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_problem::ProblemDetails;

fuzz_target!(|document: &[u8]| {
    if let Ok(details) = ProblemDetails::from_json(document) {
        let written = serde_json::to_vec(&details).expect("what was read can be written");
        let again = ProblemDetails::from_json(&written).expect("a document");
        let texts = |read: &ProblemDetails| {
            [&read.type_uri, &read.title, &read.detail, &read.instance].map(Clone::clone)
        };
        assert_eq!(texts(&again), texts(&details));
        assert_eq!(again.status, details.status);
        // Not their values: a number of a hundred digits is not read as what it was.
        assert!(again.extensions.keys().eq(details.extensions.keys()));
    }
});
