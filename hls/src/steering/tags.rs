//! Edits of one tag's attribute list that leave the rest of the line as it is.

use crate::attribute::{Attribute, Attributes};

/// The attribute of that name, if the list has it once and whole.
pub(super) fn get<'a>(list: &'a str, name: &str) -> Option<Attribute<'a>> {
    Attributes::new(list).flatten().find(|attribute| attribute.name == name)
}

/// The list with quoted values exchanged where `f` has another one, and with further attributes at its end.
pub(super) fn edited(list: &str, f: impl Fn(&Attribute<'_>) -> Option<String>, added: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(list.len() + 64);
    let mut copied = 0;
    for attribute in Attributes::new(list).flatten().filter(|attribute| attribute.quoted) {
        if let Some(value) = f(&attribute) {
            out.push_str(&list[copied..attribute.at]);
            out.push_str(&value);
            copied = attribute.at + attribute.value.len();
        }
    }
    out.push_str(&list[copied..]);
    for (name, value) in added {
        let comma = if out.trim_end().is_empty() || out.trim_end().ends_with(',') { "" } else { "," };
        out.push_str(&format!("{comma}{name}=\"{value}\""));
    }
    out
}
