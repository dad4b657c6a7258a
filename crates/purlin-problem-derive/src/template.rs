//! The template of a detail: text with `{field}` in it.

use std::fmt::Write as _;

use syn::{LitStr, Member};

/// A checked template, ready for `format_args!` with positional arguments only.
pub(crate) struct Template {
    /// The text with `{0}`, `{1}`, … in place of the fields.
    pub(crate) format: LitStr,
    /// The fields, each once, by the number that the text has for them.
    pub(crate) arguments: Vec<Argument>,
}

/// A field that the template names, and how it is to be formatted there.
pub(crate) struct Argument {
    pub(crate) field: Member,
    /// The traits of `core::fmt`, each once.
    pub(crate) traits: Vec<&'static str>,
}

impl Template {
    /// Reads the template against the fields of its variant.
    pub(crate) fn read(literal: &LitStr, fields: &[Member]) -> syn::Result<Self> {
        let refuse = |message: String| Err(syn::Error::new(literal.span(), message));
        let text = literal.value();
        let mut format = String::with_capacity(text.len());
        let mut arguments: Vec<Argument> = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            format.push_str(before);
            if from.starts_with("{{") || from.starts_with("}}") {
                format.push_str(&from[..2]);
                rest = &from[2..];
                continue;
            }
            let Some((inside, after)) =
                from.strip_prefix('{').and_then(|from| from.split_once('}'))
            else {
                return refuse("a brace stands alone; write `{{` or `}}` for the character".into());
            };
            rest = after;
            let (name, spec) = inside.split_once(':').unwrap_or((inside, ""));
            let Some(field) = fields.iter().find(|field| name_of(field) == name.trim()) else {
                return refuse(unknown_field(name.trim(), fields));
            };
            let Some(format_trait) = format_trait(spec) else {
                return refuse(format!(
                    "`{{{inside}}}`: width and precision are numbers here, and the kind is one \
                     that `format!` knows"
                ));
            };
            let number = argument(&mut arguments, field, format_trait);
            let colon = if inside.contains(':') { ":" } else { "" };
            write!(format, "{{{number}{colon}{spec}}}").expect("a String takes any text");
        }
        format.push_str(rest);
        Ok(Self {
            format: LitStr::new(&format, literal.span()),
            arguments,
        })
    }
}

/// The name of a field as templates and extensions have it: `type` for `r#type`, `0` for the first
/// of a tuple.
pub(crate) fn name_of(field: &Member) -> String {
    match field {
        Member::Named(name) => syn::ext::IdentExt::unraw(name).to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

fn unknown_field(name: &str, fields: &[Member]) -> String {
    let hint = match fields {
        [] => "there are no fields to name".to_owned(),
        fields => {
            let names: Vec<String> = fields
                .iter()
                .map(|field| format!("`{{{}}}`", name_of(field)))
                .collect();
            format!("there is {}", names.join(", "))
        }
    };
    if name.is_empty() {
        format!("`{{}}` names no field; {hint}")
    } else {
        format!("`{{{name}}}` is no field here; {hint}")
    }
}

fn argument(arguments: &mut Vec<Argument>, field: &Member, format_trait: &'static str) -> usize {
    let number = arguments
        .iter()
        .position(|argument| argument.field == *field);
    let number = number.unwrap_or_else(|| {
        arguments.push(Argument {
            field: field.clone(),
            traits: Vec::new(),
        });
        arguments.len() - 1
    });
    let traits = &mut arguments[number].traits;
    if !traits.contains(&format_trait) {
        traits.push(format_trait);
    }
    number
}

/// The trait behind a format spec (`std::fmt`, "Syntax"); `None` where the spec takes an argument
/// of its own or has an unknown kind.
fn format_trait(spec: &str) -> Option<&'static str> {
    let spec = spec.trim_end();
    // A fill may be any character, also one that means something further on.
    let fill = spec.chars().next().map_or(0, char::len_utf8);
    let spec = if spec[fill..].starts_with(['<', '^', '>']) {
        &spec[fill + 1..]
    } else {
        spec
    };
    if spec.contains('$') || spec.contains(".*") {
        return None;
    }
    let kind = spec.trim_start_matches(|c: char| c.is_ascii_digit() || "<^>+-#.".contains(c));
    match kind {
        "" => Some("Display"),
        "?" | "x?" | "X?" => Some("Debug"),
        "x" => Some("LowerHex"),
        "X" => Some("UpperHex"),
        "o" => Some("Octal"),
        "b" => Some("Binary"),
        "e" => Some("LowerExp"),
        "E" => Some("UpperExp"),
        "p" => Some("Pointer"),
        _ => None,
    }
}
