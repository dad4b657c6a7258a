//! A field value from anybody: parsing never panics, and a key that was read is read again from each
//! form in which it can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_idempotency::{Key, KeySyntax};

fuzz_target!(|value: &[u8]| {
    let lenient = Key::parse(value, KeySyntax::Lenient);
    let strict = Key::parse(value, KeySyntax::Strict);
    if let Ok(key) = &strict {
        assert_eq!(lenient.as_ref(), Ok(key), "the strict form is one of the lenient");
    }
    let Ok(key) = lenient else { return };
    let text = key.as_str();
    assert!((1..=255).contains(&text.len()));
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    for syntax in [KeySyntax::Lenient, KeySyntax::Strict] {
        assert_eq!(Key::parse(quoted.as_bytes(), syntax).as_ref(), Ok(&key));
    }
    if strict.is_err() {
        assert_eq!(Key::parse(text.as_bytes(), KeySyntax::Lenient), Ok(key));
    }
});
