//! A JSON body for the extractor: it is taken or refused with a problem that does not repeat it.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use purlin_problem::extract::Json;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[expect(dead_code, reason = "it is only read")]
    items: Vec<Item>,
    #[expect(dead_code, reason = "it is only read")]
    note: Option<String>,
    #[expect(dead_code, reason = "it is only read")]
    tags: Option<BTreeMap<String, u8>>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Item {
    #[expect(dead_code, reason = "it is only read")]
    Product { id: u64, quantity: i32 },
    #[expect(dead_code, reason = "it is only read")]
    Voucher { code: String },
}

fuzz_target!(|body: &[u8]| {
    let taken = serde_json::from_slice::<Order>(body).is_ok();
    match Json::<Order>::from_bytes(body) {
        Ok(_) => assert!(taken),
        Err(problem) => {
            assert!(!taken);
            assert!(matches!(problem.status().as_u16(), 400 | 422));
            serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(
                &problem.to_json(),
            )
            .expect("one JSON object");
        }
    }
});
