//! A proxylet's own settings: what an operator sets, checked against the JSON Schema that the proxylet carries.

use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind};
use serde_json::{Map, Value, json};

use crate::config::diagnostic::closest;

/// The most wrong settings that one answer names.
const NAMED_MAX: usize = 8;
/// The largest schema that is used, in bytes as JSON.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// What a schema may not have: references can make a small schema take for ever, and a schema comes from a stranger.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// The most characters of a wrong value that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// Reads `KEY=VALUE`. The value is JSON where it reads as JSON, else a text; `null` takes a setting back to its
/// default.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub fn parse_set(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok((key.to_owned(), value))
        }
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

/// Lays changed settings over present ones: `null` takes one away, anything else replaces it whole.
pub fn change(settings: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (key, value) in changes {
        if value.is_null() {
            settings.remove(key);
        } else {
            settings.insert(key.clone(), value.clone());
        }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The first wrong setting, as a JSON pointer behind `config`.
    pub place: String,
    /// All that is wrong, each in a sentence.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// Checks a whole configuration against a proxylet's schema.
///
/// # Errors
/// What is wrong with which settings. Where the schema itself cannot be used, that is said instead.
pub fn check(schema: &Value, config: &Map<String, Value>) -> Result<(), SettingsError> {
    let unusable = |why: String| SettingsError {
        place: "schema".to_owned(),
        message: format!("the JSON Schema that the proxylet carries cannot be used: {why}"),
        fix: "correct `schema` in the proxylet's manifest and build it again".to_owned(),
    };
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(unusable(format!("it is larger than {SCHEMA_BYTES_MAX} bytes")));
    }
    if let Some(reference) = reference(schema) {
        return Err(unusable(format!("it has a `{reference}`; write out what it refers to")));
    }
    let validator = jsonschema::validator_for(schema).map_err(|e| unusable(e.to_string()))?;
    let instance = Value::Object(config.clone());
    let errors: Vec<_> = validator.iter_errors(&instance).take(NAMED_MAX).collect();
    let Some(first) = errors.first() else { return Ok(()) };
    Err(SettingsError {
        place: format!("config{}", first.instance_path()),
        message: errors.iter().map(words).collect::<Vec<_>>().join("; "),
        fix: fix(schema, first),
    })
}

/// Sets up what the first check of a process would wait for: the schema of schemas, with all that it has patterns for.
pub(crate) fn warm() {
    let setting = json!({ "type": "string", "pattern": "^a$", "default": "a", "description": "" });
    let schema = json!({ "type": "object", "properties": { "a": setting }, "additionalProperties": false });
    // It has nothing to say of an empty configuration.
    let _ = check(&schema, &Map::new());
}

/// The first reference in a schema, at any depth.
fn reference(schema: &Value) -> Option<&'static str> {
    match schema {
        Value::Object(map) => REFERENCES
            .into_iter()
            .find(|key| map.contains_key(*key))
            .or_else(|| map.values().find_map(reference)),
        Value::Array(items) => items.iter().find_map(reference),
        _ => None,
    }
}

/// One violation in a sentence that begins with the setting.
fn words(error: &ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let setting = path.trim_start_matches('/').replace('/', ".");
    let shown: String = error.instance().to_string().chars().take(SHOWN_CHARS_MAX).collect();
    let is = |what: String| format!("`{setting}` is {shown}, {what}");
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let names = unexpected.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            format!("the proxylet has no setting {names}")
        }
        ValidationErrorKind::Required { property } => {
            format!("the setting `{}` is missing", property.as_str().unwrap_or_default())
        }
        ValidationErrorKind::Minimum { limit } => is(format!("the smallest value is {limit}")),
        ValidationErrorKind::Maximum { limit } => is(format!("the largest value is {limit}")),
        ValidationErrorKind::Enum { options } => is(format!("possible are {options}")),
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => {
            is(format!("it must be of type {kind}"))
        }
        ValidationErrorKind::Pattern { pattern } => is(format!("it must match {pattern}")),
        _ if setting.is_empty() => format!("the configuration: {error}"),
        _ => format!("`{setting}`: {error}"),
    }
}

/// What to write instead of the first wrong setting.
fn fix(schema: &Value, error: &ValidationError<'_>) -> String {
    let Some(known) = schema.get("properties").and_then(Value::as_object) else {
        return "correct the configuration".to_owned();
    };
    let all = || known.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    if let ValidationErrorKind::AdditionalProperties { unexpected }
    | ValidationErrorKind::UnevaluatedProperties { unexpected } = error.kind()
    {
        let meant = unexpected.first().and_then(|name| closest(name, known.keys().map(String::as_str)));
        return match meant {
            Some(meant) => format!("did you mean `{meant}`? Its settings: {}", all()),
            None => format!("its settings: {}", all()),
        };
    }
    let path = error.instance_path().to_string();
    let top = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match known.get(top).and_then(|s| s.get("description")).and_then(Value::as_str) {
        Some(about) => format!("`{top}`: {about}"),
        None => format!("its settings: {}", all()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["listen"],
            "properties": {
                "listen": {"type": "string", "description": "Address and port."},
                "leaves": {"type": "integer", "minimum": 0, "maximum": 5000, "description": "Leaf slots."},
                "mode": {"enum": ["leaf", "ultrapeer"]}
            }
        })
    }

    fn told(config: Value) -> SettingsError {
        check(&schema(), &map(config)).unwrap_err()
    }

    #[test]
    fn right_settings_pass() {
        assert_eq!(check(&schema(), &map(json!({"listen": ":1", "leaves": 5, "mode": "leaf"}))), Ok(()));
    }

    #[test]
    fn wrong_settings_are_named_with_what_to_write() {
        let e = told(json!({"listen": ":1", "leafs": 5}));
        assert_eq!(e.message, "the proxylet has no setting `leafs`");
        assert_eq!(e.fix, "did you mean `leaves`? Its settings: `leaves`, `listen`, `mode`");
        let e = told(json!({"listen": ":1", "leaves": 9999}));
        assert_eq!(
            (e.place.as_str(), e.message.as_str()),
            ("config/leaves", "`leaves` is 9999, the largest value is 5000")
        );
        assert_eq!(e.fix, "`leaves`: Leaf slots.");
        let e = told(json!({"listen": 5, "mode": "x"}));
        assert!(e.message.contains("`listen` is 5, it must be of type string"), "{}", e.message);
        assert!(e.message.contains(r#"`mode` is "x", possible are ["leaf","ultrapeer"]"#), "{}", e.message);
        assert_eq!(told(json!({})).message, "the setting `listen` is missing");
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_an_error_and_not_a_hang() {
        let config = map(json!({"a": {"a": {"a": 1}}}));
        let unusable = |schema: Value| check(&schema, &config).is_err_and(|e| e.place == "schema");
        assert!(unusable(json!({"type": "nothing"})));
        assert!(unusable(json!({"$ref": "http://x.invalid/schema"})));
        assert!(unusable(json!({"properties": {"a": {"items": [{"$ref": "#"}]}}})));
        assert!(unusable(json!({"description": "x".repeat(SCHEMA_BYTES_MAX)})));
        // Twice two levels, sixty times: by references it would take for ever.
        let mut defs = json!({"d0": {}});
        for level in 1..60 {
            let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
            defs[format!("d{level}")] = json!({"allOf": [below, below]});
        }
        assert!(unusable(json!({"$defs": defs, "$ref": "#/$defs/d59"})));
    }

    #[test]
    fn sets() {
        assert_eq!(parse_set("a=1"), Ok(("a".into(), json!(1))));
        assert_eq!(parse_set("a=b=c"), Ok(("a".into(), json!("b=c"))));
        assert_eq!(parse_set("a="), Ok(("a".into(), json!(""))));
        assert_eq!(parse_set("a=\"1\""), Ok(("a".into(), json!("1"))));
        assert!(parse_set("a").is_err() && parse_set("=a").is_err());
        let mut settings = map(json!({"a": 1, "b": {"c": 2}}));
        change(&mut settings, &map(json!({"a": null, "b": {"d": 1}, "e": 3})));
        assert_eq!(settings, map(json!({"b": {"d": 1}, "e": 3})));
    }
}
