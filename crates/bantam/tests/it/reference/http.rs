//! `http.md`, from the server's tables.

use bantam_server::{REQUEST_HEADERS, RESPONSE_HEADERS, routes};

use super::{check_page, head, heading, row};

#[test]
fn the_page_of_http_is_the_servers_tables() {
    let mut page = head(
        "HTTP",
        "Bantam speaks HTTP/1.1 with JSON. Requests and answers of `/v1` have OpenAI's shape, so any OpenAI client works with \
         `base_url = \"http://127.0.0.1:5454/v1\"`.",
    );
    page.push_str("\n## Endpoints\n\n");
    page.push_str(&heading(&["Method", "Path", "Key", "Meaning"]));
    for route in routes() {
        let (method, path) = (format!("`{}`", route.method), format!("`{}`", route.shown_path()));
        let key = if route.needs_key { "if the server has keys" } else { "never" };
        page.push_str(&row(&[&method, &path, key, route.about]));
    }
    page.push_str(
        "\nA method that a path lacks is a 405, whose `Allow` names those it has. `OPTIONS` is served on every path as the \
         preflight of a browser, without a key, for pages of the origins in `server.allowed_origins`.\n",
    );
    for (title, headers) in [("Request headers", REQUEST_HEADERS), ("Response headers", RESPONSE_HEADERS)] {
        page.push_str(&format!("\n## {title}\n\n{}", heading(&["Header", "Meaning"])));
        for header in headers {
            page.push_str(&row(&[&format!("`{}`", header.name), header.about]));
        }
    }
    page.push_str(
        "\n## The `bantam` object\n\nWhole answers carry the same facts as an object `bantam` in the body, streams in their \
         last chunk. A stream's headers say what was known when it began: its cost is in the last chunk only. \
         Where an answer takes longer than `server.stream_keep_alive_ms` to begin, the stream begins without it: these headers \
         are missing then, and an error is an event in the stream.\n\n\
         Errors are listed in [error codes](errors.md).\n",
    );
    check_page("http.md", &page);
}
