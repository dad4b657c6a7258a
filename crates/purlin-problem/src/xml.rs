//! `application/problem+xml`.

use std::io;

use http::HeaderMap;
use mediatype::{
    MediaType, Name,
    names::{APPLICATION, JSON, XML},
};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};
use serde_json::Value;

use crate::{ProblemDetails, accept::quality, ext_name::is_reserved};

/// The namespace of RFC 7807, which RFC 9457 Appendix B keeps.
const NAMESPACE: &str = "urn:ietf:rfc:7807";

/// Whether the client would rather read XML: `Accept` gives `application/problem+xml` or
/// `application/xml` more weight than `application/problem+json` and `application/json`. A tie is
/// JSON.
pub(crate) fn preferred(headers: &HeaderMap) -> bool {
    const PROBLEM: Name<'_> = Name::new_unchecked("problem");
    const PROBLEM_XML: MediaType<'_> = MediaType::from_parts(APPLICATION, PROBLEM, Some(XML), &[]);
    const PROBLEM_JSON: MediaType<'_> =
        MediaType::from_parts(APPLICATION, PROBLEM, Some(JSON), &[]);
    const PLAIN_XML: MediaType<'_> = MediaType::new(APPLICATION, XML);
    const PLAIN_JSON: MediaType<'_> = MediaType::new(APPLICATION, JSON);
    let weight = |problem, plain| f32::max(quality(headers, &problem), quality(headers, &plain));
    weight(PROBLEM_XML, PLAIN_XML) > weight(PROBLEM_JSON, PLAIN_JSON)
}

/// The document as RFC 9457 Appendix B has it: a member is an element, the items of an array are
/// elements named `i`. A member whose name is no name in XML is left out; so is a `null`'s content.
pub(crate) fn render(details: &ProblemDetails) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    write_problem(&mut writer, details).expect("a vector takes all bytes");
    writer.into_inner()
}

fn write_problem(writer: &mut Writer<Vec<u8>>, details: &ProblemDetails) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("problem")
        .with_attribute(("xmlns", NAMESPACE))
        .write_inner_content(|writer| {
            let status = details.status.map(|status| status.to_string());
            for (name, text) in [
                ("type", details.type_uri.as_deref()),
                ("title", details.title.as_deref()),
                ("status", status.as_deref()),
                ("detail", details.detail.as_deref()),
                ("instance", details.instance.as_deref()),
            ] {
                if let Some(text) = text {
                    write_text(writer, name, text)?;
                }
            }
            let extensions = details.extensions.iter();
            for (name, value) in extensions.filter(|(name, _)| !is_reserved(name)) {
                write_member(writer, name, value)?;
            }
            Ok(())
        })?;
    Ok(())
}

fn write_member(writer: &mut Writer<Vec<u8>>, name: &str, value: &Value) -> io::Result<()> {
    if !is_xml_name(name) {
        return Ok(());
    }
    match value {
        Value::Null => writer.create_element(name).write_empty().map(drop),
        Value::Bool(value) => write_text(writer, name, if *value { "true" } else { "false" }),
        Value::Number(value) => write_text(writer, name, &value.to_string()),
        Value::String(value) => write_text(writer, name, value),
        Value::Array(items) => writer
            .create_element(name)
            .write_inner_content(|writer| {
                items
                    .iter()
                    .try_for_each(|item| write_member(writer, "i", item))
            })
            .map(drop),
        Value::Object(members) => writer
            .create_element(name)
            .write_inner_content(|writer| {
                let mut members = members.iter();
                members.try_for_each(|(name, value)| write_member(writer, name, value))
            })
            .map(drop),
    }
}

fn write_text(writer: &mut Writer<Vec<u8>>, name: &str, text: &str) -> io::Result<()> {
    // Control characters stand in no XML document, not even escaped (XML 1.0 §2.2).
    let text: String = text
        .chars()
        .map(|char| if is_xml_char(char) { char } else { '\u{fffd}' })
        .collect();
    writer
        .create_element(name)
        .write_text_content(BytesText::new(&text))
        .map(drop)
}

const fn is_xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// A name without a colon (Namespaces in XML 1.0 §3), which is `Name` of XML 1.0 §2.3 otherwise.
fn is_xml_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(starts_xml_name)
        && chars.all(|char| {
            starts_xml_name(char)
                || matches!(char, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}'
                    | '\u{203f}'..='\u{2040}')
        })
}

const fn starts_xml_name(char: char) -> bool {
    matches!(char, 'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}'
        | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
        | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}
