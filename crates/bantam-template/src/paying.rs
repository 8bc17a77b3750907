//! Steps for what the engine does not count: lists and objects that are written out as text, however they are shared and
//! nested, and numbers that ask for wide texts.

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, filters};

use crate::kept::KEPT;

/// The deepest nesting of a value that is written, which a program does recursively.
const DEPTH_MAX: usize = 128;
/// How deep macros and loops may call each other, as the engine counts: a macro counts as four.
const RECURSION_MAX: usize = 200;
/// The widest indentation.
pub(crate) const INDENT_MAX: usize = 64;

/// Makes the environment take steps wherever a template writes out a list, and for every value that gets a name.
pub(crate) fn take_steps_for_items(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(python_method);
    environment.set_formatter(|output, state, value| {
        pay_for_items(state, value)?;
        minijinja::escape_formatter(output, state, value)
    });
    environment.set_recursion_limit(RECURSION_MAX);
    environment.add_filter(KEPT, |state: &State<'_, '_>, value: Value| -> Result<Value, Error> {
        pay_for_items(state, &value).map(|()| value)
    });
    for (name, filter) in writing_filters() {
        let paying = move |state: &mut State<'_, '_>, arguments: Rest<Value>| -> Result<Value, Error> {
            arguments.iter().try_for_each(|argument| pay_for_items(state, argument))?;
            if name == "indent" {
                check_indent(&arguments)?;
            }
            filter.call(state, &arguments)
        };
        environment.add_filter(name, paying);
    }
}

/// Refuses an indentation that no text needs, given by place or by name.
fn check_indent(arguments: &[Value]) -> Result<(), Error> {
    let named = arguments.last().and_then(|named| named.get_attr("width").ok());
    let width = arguments.get(1).and_then(Value::as_i64).or_else(|| named.and_then(|width| width.as_i64()));
    match width {
        Some(width) if width > INDENT_MAX as i64 => {
            let message = format!("indent takes at most {INDENT_MAX}");
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
        _ => Ok(()),
    }
}

/// Returns the built-in filters that write out lists as text: the engine takes steps for what they wrote only afterwards.
fn writing_filters() -> [(&'static str, Value); 15] {
    [
        ("capitalize", Value::from_function(filters::capitalize)),
        ("e", Value::from_function(filters::escape)),
        ("escape", Value::from_function(filters::escape)),
        ("format", Value::from_function(filters::format)),
        ("indent", Value::from_function(filters::indent)),
        ("join", Value::from_function(filters::join)),
        ("lower", Value::from_function(filters::lower)),
        ("pprint", Value::from_function(filters::pprint)),
        ("replace", Value::from_function(filters::replace)),
        ("safe", Value::from_function(filters::safe)),
        ("split", Value::from_function(filters::split)),
        ("string", Value::from_function(filters::string)),
        ("title", Value::from_function(filters::title)),
        ("trim", Value::from_function(filters::trim)),
        ("upper", Value::from_function(filters::upper)),
    ]
}

/// Calls a method of Python's texts, lists and dictionaries. Some write whole lists, so their arguments are paid for first.
fn python_method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    arguments.iter().try_for_each(|argument| pay_for_items(state, argument))?;
    if method == "format" {
        // Widths and precisions are numbers in the format.
        let numbers = value.as_str().unwrap_or_default().split(|character: char| !character.is_ascii_digit());
        let numbers = numbers.filter(|digits| !digits.is_empty());
        let widths = numbers.map(|digits| digits.parse::<u64>().unwrap_or(u64::MAX));
        state.consume_fuel(widths.fold(0, u64::saturating_add) / 64)?;
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
}

/// Takes steps for a list or an object that is about to be written out; the engine itself does so for texts.
fn pay_for_items(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => pay_within(state, value, 0),
        _ => Ok(()),
    }
}

/// Takes steps for everything in `value`, as often as it would be written. A list that holds another twice is small in memory
/// and twice as long in text; nested often enough, its text would never end.
pub(crate) fn pay_for(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    pay_within(state, value, 0)
}

fn pay_within(state: &State<'_, '_>, value: &Value, depth: usize) -> Result<(), Error> {
    let bytes = value.as_str().map_or(0, str::len);
    state.consume_fuel(1 + (bytes / 64) as u64)?;
    let is_map = value.kind() == ValueKind::Map;
    if !is_map && !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(());
    }
    if depth == DEPTH_MAX {
        let message = format!("values are nested more than {DEPTH_MAX} deep");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    for item in value.try_iter()? {
        pay_within(state, &item, depth + 1)?;
        if is_map {
            pay_within(state, &value.get_item(&item)?, depth + 1)?;
        }
    }
    Ok(())
}
