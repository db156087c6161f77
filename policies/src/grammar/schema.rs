//! The JSON Schema of a shape.

use serde_json::{Map, Value, json};

use super::dialect;
use super::shape::{Key, Shape};

/// The JSON Schema (draft 2020-12) of policies, for editors.
#[must_use]
pub fn policy() -> Value {
    whole("A policy of eep", &dialect::POLICY)
}

/// The JSON Schema (draft 2020-12) of test files, for editors.
#[must_use]
pub fn tests() -> Value {
    whole("Tests of a policy of eep", &dialect::TESTS)
}

fn whole(title: &str, shape: &Shape) -> Value {
    let mut out = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title});
    if let (Some(out), Value::Object(rest)) = (out.as_object_mut(), of(shape)) {
        out.extend(rest);
    }
    out
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Any => json!({}),
        Shape::Text(form) => {
            let mut out = json!({"type": "string", "description": form.about()});
            if let Some(pattern) = form.pattern() {
                out["pattern"] = pattern.into();
            }
            out
        }
        Shape::Word(words) => words_of(words),
        Shape::Whole { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Real { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::List(item) => json!({"type": "array", "items": of(item)}),
        Shape::Many(item) => {
            let one = of(item);
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": true}]})
        }
        Shape::Listed(item) => json!({"anyOf": [
            {"type": "array", "items": of(item), "minItems": 1},
            {"type": "object", "required": ["file"], "additionalProperties": false, "properties":
                {"file": {"type": "string", "description": "a file with one entry a line, below the policy's folder"}}}]}),
        Shape::Map(keys) => {
            let required: Vec<&str> = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
            let mut out = object(keys);
            out["required"] = json!(required);
            out
        }
        Shape::Some(keys) => {
            let mut out = object(keys);
            out["minProperties"] = 1.into();
            out
        }
        Shape::One(keys) => {
            let mut out = object(keys);
            out["minProperties"] = 1.into();
            out["maxProperties"] = 1.into();
            out
        }
        Shape::Names(item) => json!({"type": "object", "additionalProperties": of(item),
            "propertyNames": {"pattern": super::lexical::Lexical::Name.pattern()}}),
        Shape::Action { words, forms } => {
            let mut form = object(forms);
            form["minProperties"] = 1.into();
            form["maxProperties"] = 1.into();
            json!({"anyOf": [words_of(words), form]})
        }
    }
}

fn words_of(words: &[(&str, &str)]) -> Value {
    let each: Vec<Value> = words.iter().map(|(w, about)| json!({"const": w, "description": about})).collect();
    json!({"oneOf": each})
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|k| {
            let mut inner = of(k.shape);
            inner["description"] = k.about.into();
            (k.name.to_owned(), inner)
        })
        .collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
