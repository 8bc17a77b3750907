//! Ordinary text stays public, and other text gets the right label.

use bantam_types::Label;

use crate::scan;

#[track_caller]
fn check(texts: &[&str]) {
    let raised: Vec<String> = texts
        .iter()
        .map(|text| (text, scan(&[text])))
        .filter(|(_, findings)| findings.label() > Label::Public || !findings.is_complete())
        .map(|(text, findings)| format!("{text:?}: {findings}"))
        .collect();
    assert!(raised.is_empty(), "raised:\n{}", raised.join("\n"));
}

#[test]
fn dates_and_times_are_public() {
    check(&[
        "2024-01-15",
        "15.01.2024",
        "01/15/2024",
        "On 15 01 2024 at 10:30:00.",
        "2024-01-15T10:30:00Z",
        "2024-01-15T10:30:00.123456+00:00",
        "2024-01-15 10:30:00",
        "2024-01-15 10-30-00",
        "from 1999-2004",
        "1914 1918",
        "1739-1748",
        "10:30:45",
        "20240115",
        "20240115103000",
        "1700000000",
        "1700000000123",
        "12-31-1999 to 01-01-2000",
    ]);
}

#[test]
fn amounts_and_orders_are_public() {
    check(&[
        "$1,234,567.89",
        "costs 1 000 000 euros",
        "1.234.567,89 EUR",
        "50% of 12.5%",
        "order 12345678",
        "order #1234-5678",
        "invoice 2024-00012345",
        "order 123456789",
        "ISBN 978-3-16-148410-0",
        "3.14159265358979",
        "0.123456789",
        "zip 12345-6789",
        "pages 100-200",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "[1, 2, 3, 4, 5]",
        "temperature 0.7, max_tokens 4096, seed 1234567890",
    ]);
}

#[test]
fn versions_and_identifiers_are_public() {
    check(&[
        "version 1.2.3",
        "rustc 1.95.0-nightly",
        "10.15.7",
        "550e8400-e29b-41d4-a716-446655440000",
        "12345678-1234-1234-1234-123456789012",
        "d41d8cd98f00b204e9800998ecf8427e",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "commit 181a982",
        "gpt-4o-mini-2024-07-18",
        "chatcmpl-9a8B7c6D5e4F3g2H1",
        "sha256",
        "RFC 8259",
        "CVE-2024-12345",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ]);
}

#[test]
fn code_is_public() {
    check(&[
        "let x: u32 = std::env::args().count();",
        "password = getpass()",
        "password: string",
        "token = request.token",
        "api_key = os.environ[\"API_KEY\"]",
        "if a::b == c::d { }",
        "fn scan(view: View<'_>, tally: &mut Tally) -> bool",
        "https://example.com/some/long/path/to/a/page.html?query=value",
        "@decorator",
        "import { useState } from 'react'",
        "SELECT * FROM users WHERE id = 12345;",
        "C:\\Users\\Public\\new",
        "max_tokens=4096",
        "a && b || c % d",
        "internationalisation-of-everything-in-the-world",
        "<div class=\"container-fluid-extra-wide\">&nbsp;</div>",
        "sk-learn-is-a-library-for-learning",
        "risk-management-is-our-business",
        "tokens: 4096",
        "0xdeadbeef",
        "for i in range(1000000000):",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}",
    ]);
}

#[test]
fn sentences_are_public() {
    check(&[
        "I forgot my password and cannot log in.",
        "My password is wrong",
        "What is your secret?",
        "The password must be at least 8 characters long.",
        "Victoria's Secret: open now",
        "Look at the polka dot dress.",
        "What is the token limit?",
        "Привет, как дела сегодня?",
        "今日はとても良い天気ですね。",
        "Η επιτροπή συνεδρίασε.",
        "Une phrase très élégante, n'est-ce pas ?",
        "😀👍🏽 nice",
        "If the sides are 40 cm and 50 cm, what is the third?",
        "travelling at 50 km/h and stopping to rest for 30 minutes every 2 hours",
        "bananas are 3 for 2",
    ]);
}

#[test]
fn private_addresses_are_internal() {
    for text in ["192.168.1.20", "10.0.0.1", "127.0.0.1", "::1", "fe80::1", "fd12:3456::1", "root@buildhost"]
    {
        assert_eq!(scan(&[text]).label(), Label::Internal, "{text}");
    }
}

#[test]
fn doubtful_values_are_confidential() {
    for text in [
        "4111 1111 1111 1112",
        "666-12-3456",
        "DE89370400440532013001",
        "1.2.3.4",
        "password: \"changeme\"",
        "12345678901234567890123",
    ] {
        assert_eq!(scan(&[text]).label(), Label::Confidential, "{text}");
    }
}

#[test]
fn secrets_are_restricted() {
    for text in [
        "postgres://app:hunter2@db.internal:5432/app",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "Authorization: Bearer a8f5f167f44f4964e6c998dee827110c",
        "API_KEY: 'b7d03a6947b217efb6f3ec3bd3504582'",
        "my password is Hunter2!",
        "\"client_secret\": \"x8Q-Zk3vT9q0LmXw27\"",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "xoxb-123456789012-abcdefGHIJKL",
        "ssn 536221234",
        "my social security number is 536221234",
    ] {
        assert_eq!(scan(&[text]).label(), Label::Restricted, "{text}");
    }
}
