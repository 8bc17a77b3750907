//! Formats as patterns, so that their meaning does not depend on a validator.
//!
//! llguidance knows some formats, but allows 29 February in every year and a leap second in every minute. Here a date
//! must exist. If a standard's grammar is larger than what occurs in practice, the pattern covers the part on which
//! all validators agree.

const MONTH_DAY: &str = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
    |02-(?:0[1-9]|1[0-9]|2[0-8]))";
/// Years divisible by four; those ending in 00 only if the century is divisible by four.
const LEAP_YEAR: &str = "(?:[0-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)";
/// Upper case, which every reader takes.
const OFFSET: &str = "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
/// No two consecutive hyphens: in the third and fourth position they announce an encoding.
const LABEL: &str = "[a-zA-Z0-9](?:-?[a-zA-Z0-9]){0,30}";
const PATH_CHARACTER: &str = "(?:[a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})";
const SEGMENT_CHARACTER: &str = "(?:[a-zA-Z0-9._~!$&'()*+,;=@-]|%[0-9a-fA-F]{2})";

/// Returns the pattern of a format; `None` if the format does not restrict strings or is unknown.
///
/// Internationalised formats are limited to their ASCII part, and names of earlier drafts or of common validators are
/// taken at their word.
pub(super) fn pattern(name: &str) -> Option<String> {
    let body = match name {
        "date" => date(),
        "time" => time(),
        "date-time" => format!("(?:{})T(?:{})", date(), time()),
        "duration" => duration(),
        "email" | "idn-email" => {
            let atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}";
            format!("{atom}(?:[.]{atom}){{0,2}}@{LABEL}(?:[.]{LABEL}){{1,2}}")
        }
        "hostname" | "idn-hostname" | "host-name" => format!("{LABEL}(?:[.]{LABEL}){{0,2}}"),
        "ipv4" | "ip-address" => format!("{OCTET}(?:[.]{OCTET}){{3}}"),
        "ipv6" => ipv6(),
        "uri" | "iri" => uri(),
        "url" => format!("https?{}", web()),
        "uri-template" => uri_template(),
        "uri-reference" | "iri-reference" => {
            let relative = format!(
                "(?:/(?:{PATH_CHARACTER}+(?:/{PATH_CHARACTER}*)*)?|{SEGMENT_CHARACTER}+(?:/{PATH_CHARACTER}*)*)?{}",
                query_and_fragment()
            );
            format!("(?:{}|{relative})", uri())
        }
        "uuid" => "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}".to_owned(),
        "json-pointer" => json_pointer().to_owned(),
        "relative-json-pointer" => format!("(?:0|[1-9][0-9]*)(?:#|{})", json_pointer()),
        "byte" => "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?".to_owned(),
        _ => return None,
    };
    Some(format!("^(?:{body})$"))
}

fn date() -> String {
    format!("(?:[0-9]{{4}}-{MONTH_DAY}|{LEAP_YEAR}-02-29)")
}

/// A leap second is the last second of a day in UTC; it is allowed only where that is evident.
fn time() -> String {
    let fraction = "(?:[.][0-9]{1,9})?";
    format!("(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]{fraction}{OFFSET}|23:59:60{fraction}Z)")
}

/// RFC 3339, appendix A.
fn duration() -> String {
    let time = "T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S)";
    let date = "(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)";
    format!("P(?:{date}(?:{time})?|{time}|[0-9]{{1,9}}W)")
}

/// Eight groups, or fewer around one `::` that stands for at least two groups.
fn ipv6() -> String {
    let group = "[0-9a-fA-F]{1,4}";
    let mut forms = vec![format!("(?:{group}:){{7}}{group}"), "::".to_owned()];
    for before in 0..=6usize {
        let head = if before == 0 { String::new() } else { format!("{group}(?::{group}){{{}}}", before - 1) };
        let room = 6 - before;
        if before > 0 {
            forms.push(format!("{head}::"));
        }
        if room > 0 {
            forms.push(format!("{head}::{group}(?::{group}){{0,{}}}", room - 1));
        }
    }
    format!("(?:{})", forms.join("|"))
}

/// RFC 3986, without hosts in brackets.
fn uri() -> String {
    let authority = "//(?:[a-zA-Z0-9._~!$&'()*+,;=:-]|%[0-9a-fA-F]{2})*";
    let user = format!("(?:{authority}@(?:[a-zA-Z0-9._~!$&'()*+,;=-]|%[0-9a-fA-F]{{2}})*)");
    let host = "//(?:[a-zA-Z0-9._~!$&'()*+,;=-]|%[0-9a-fA-F]{2})*";
    let hier = format!("(?:{user}|{host})(?::[0-9]{{0,5}})?(?:/{PATH_CHARACTER}*)*");
    let path = format!("/?(?:{PATH_CHARACTER}+(?:/{PATH_CHARACTER}*)*)?");
    format!("[a-zA-Z][a-zA-Z0-9+.-]*:(?:{hier}|{path}){}", query_and_fragment())
}

/// What follows the scheme of an address on the web: a host, and perhaps a port, a path, a query and a fragment.
fn web() -> String {
    format!(
        "://{LABEL}(?:[.]{LABEL}){{1,3}}(?::[1-9][0-9]{{0,3}})?(?:/{PATH_CHARACTER}*)*{}",
        query_and_fragment()
    )
}

/// RFC 6570, levels 1 to 3.
fn uri_template() -> String {
    let name = "[a-zA-Z0-9_]+";
    format!("(?:[a-zA-Z0-9._~:/?#@!$&()*+,;=-]|%[0-9a-fA-F]{{2}}|[{{][+#./;?&]?{name}(?:,{name})*[}}])*")
}

fn query_and_fragment() -> String {
    let character = "(?:[a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})*";
    format!("(?:[?]{character})?(?:#{character})?")
}

fn json_pointer() -> &'static str {
    "(?:/(?:[^/~]|~[01])*)*"
}
