//! Content encodings: answers are asked for as they are, and some servers compress them all the same.

use std::io::{self, Write};

use bantam_backend::BackendFault;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

/// What every gzip file begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Undoes the content encoding of one answer, piece by piece, up to a limit.
pub(crate) struct Decoding {
    state: State,
    bytes_left: usize,
}

enum State {
    /// The first two bytes tell, and have not arrived.
    Undecided {
        declared: Declared,
        held: Vec<u8>,
    },
    Plain,
    Gzip(MultiGzDecoder<Sink>),
    Zlib(ZlibDecoder<Sink>),
    Deflate(DeflateDecoder<Sink>),
}

/// What the headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    Nothing,
    Gzip,
    Deflate,
}

/// Takes what a decoder writes, up to a limit: a small body may be a very large answer.
struct Sink {
    bytes: Vec<u8>,
    bytes_max: usize,
    is_full: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoding {
    /// Returns what undoes the encoding that `headers` name, for at most `bytes_max` decoded bytes.
    ///
    /// # Errors
    /// When it is an encoding that is not undone here.
    pub(crate) fn of(headers: &HeaderMap, bytes_max: usize) -> Result<Self, BackendFault> {
        let declared = declared(headers)?;
        Ok(Self { state: State::Undecided { declared, held: Vec::new() }, bytes_left: bytes_max })
    }

    /// Returns what the next bytes of the body mean; it may be nothing yet.
    ///
    /// # Errors
    /// When they are not in the encoding, or mean more than the limit.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<Bytes, BackendFault> {
        let data = match &mut self.state {
            State::Undecided { declared, held } => {
                let data = if held.is_empty() {
                    data
                } else {
                    held.extend_from_slice(&data);
                    std::mem::take(held).into()
                };
                let Some(first) = data.first_chunk::<2>() else {
                    held.extend_from_slice(&data);
                    return Ok(Bytes::new());
                };
                self.state = State::decided(*declared, *first);
                data
            }
            _ => data,
        };
        let decoded = match &mut self.state {
            State::Undecided { .. } | State::Plain => data,
            State::Gzip(decoder) => step(decoder, MultiGzDecoder::get_mut, &data, self.bytes_left)?,
            State::Zlib(decoder) => step(decoder, ZlibDecoder::get_mut, &data, self.bytes_left)?,
            State::Deflate(decoder) => step(decoder, DeflateDecoder::get_mut, &data, self.bytes_left)?,
        };
        self.spend(decoded)
    }

    /// Returns what is left at the end of the body.
    ///
    /// # Errors
    /// When the encoded bytes end in the middle.
    pub(crate) fn finish(&mut self) -> Result<Bytes, BackendFault> {
        let finished = match &mut self.state {
            State::Undecided { held, .. } => {
                let held = std::mem::take(held).into();
                return self.spend(held);
            }
            State::Plain => return Ok(Bytes::new()),
            State::Gzip(decoder) => decoder.try_finish(),
            State::Zlib(decoder) => decoder.try_finish(),
            State::Deflate(decoder) => decoder.try_finish(),
        };
        finished.map(|()| Bytes::new()).map_err(|_| BackendFault::Cut)
    }

    fn spend(&mut self, decoded: Bytes) -> Result<Bytes, BackendFault> {
        self.bytes_left = self.bytes_left.checked_sub(decoded.len()).ok_or(BackendFault::TooLarge)?;
        Ok(decoded)
    }
}

impl State {
    fn decided(declared: Declared, first: [u8; 2]) -> Self {
        let sink = Sink { bytes: Vec::new(), bytes_max: 0, is_full: false };
        // Zlib's header: the method in the low bits of the first byte, and a check over both.
        let is_zlib = first[0] & 0x0f == 8 && u16::from_be_bytes(first).is_multiple_of(31);
        match declared {
            // JSON and events never begin like this.
            Declared::Nothing if first == GZIP_MAGIC => Self::Gzip(MultiGzDecoder::new(sink)),
            Declared::Nothing => Self::Plain,
            Declared::Gzip => Self::Gzip(MultiGzDecoder::new(sink)),
            // By its definition it is zlib's format; some servers send it without the header.
            Declared::Deflate if is_zlib => Self::Zlib(ZlibDecoder::new(sink)),
            Declared::Deflate => Self::Deflate(DeflateDecoder::new(sink)),
        }
    }
}

/// Decodes `data` and returns all that it means: events must not wait for the next bytes.
fn step<Decoder: Write>(
    decoder: &mut Decoder,
    sink: fn(&mut Decoder) -> &mut Sink,
    data: &[u8],
    bytes_max: usize,
) -> Result<Bytes, BackendFault> {
    sink(decoder).bytes_max = bytes_max;
    let written = decoder.write_all(data).and_then(|()| decoder.flush());
    let sink = sink(decoder);
    match written {
        Ok(()) => Ok(std::mem::take(&mut sink.bytes).into()),
        Err(_) if sink.is_full => Err(BackendFault::TooLarge),
        Err(_) => Err(BackendFault::Garbage),
    }
}

fn declared(headers: &HeaderMap) -> Result<Declared, BackendFault> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values: Vec<String> =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase()).collect();
    let codings = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let codings: Vec<&str> = codings.filter(|coding| !matches!(*coding, "" | "identity")).collect();
    match *codings {
        [] => Ok(Declared::Nothing),
        ["gzip" | "x-gzip"] => Ok(Declared::Gzip),
        ["deflate"] => Ok(Declared::Deflate),
        ["br"] => Err(BackendFault::Encoded("br")),
        ["zstd"] => Err(BackendFault::Encoded("zstd")),
        ["compress" | "x-compress"] => Err(BackendFault::Encoded("compress")),
        [_] => Err(BackendFault::Encoded("a coding without a known name")),
        _ => Err(BackendFault::Encoded("several codings")),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    const TEXT: &[u8] = b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n";

    fn headers(coding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !coding.is_empty() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_str(coding).unwrap());
        }
        headers
    }

    fn decode(coding: &str, body: &[u8], step: usize, bytes_max: usize) -> Result<Vec<u8>, BackendFault> {
        let mut decoding = Decoding::of(&headers(coding), bytes_max)?;
        let mut decoded = Vec::new();
        for piece in body.chunks(step) {
            decoded.extend_from_slice(&decoding.push(Bytes::copy_from_slice(piece))?);
        }
        decoded.extend_from_slice(&decoding.finish()?);
        Ok(decoded)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_coding_is_undone_however_the_bytes_are_cut() {
        let members = [gzip(&TEXT[..9]), gzip(&TEXT[9..])].concat();
        for (coding, body) in [
            ("", TEXT.to_vec()),
            ("identity", TEXT.to_vec()),
            ("gzip", gzip(TEXT)),
            (" GZip, identity", gzip(TEXT)),
            ("x-gzip", members),
            ("", gzip(TEXT)),
            ("deflate", zlib(TEXT)),
            ("deflate", deflate(TEXT)),
            ("", b"x".to_vec()),
            ("", Vec::new()),
        ] {
            for step in 1..=body.len().max(1) {
                let decoded = decode(coding, &body, step, 1000);
                let expected = if body.len() > 1 { TEXT } else { &body };
                assert_eq!(decoded.as_deref(), Ok(expected), "{coding:?} cut every {step}");
            }
        }
    }

    #[test]
    fn what_a_server_flushed_is_decoded_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(TEXT).unwrap();
        encoder.flush().unwrap();
        let mut decoding = Decoding::of(&headers("gzip"), 1000).unwrap();
        assert_eq!(decoding.push(Bytes::copy_from_slice(encoder.get_ref())), Ok(Bytes::from_static(TEXT)));
    }

    #[test]
    fn a_small_body_that_is_a_large_answer_is_refused_before_it_is_in_memory() {
        let bomb = vec![b' '; 8 << 20];
        for (coding, body) in [("gzip", gzip(&bomb)), ("deflate", zlib(&bomb)), ("deflate", deflate(&bomb))] {
            assert!(body.len() < 100_000);
            assert_eq!(decode(coding, &body, body.len(), 1 << 20), Err(BackendFault::TooLarge), "{coding}");
            assert_eq!(decode(coding, &body, 100, 1 << 20), Err(BackendFault::TooLarge), "{coding}");
        }
        assert_eq!(decode("", TEXT, 5, 20), Err(BackendFault::TooLarge));
    }

    #[test]
    fn a_cut_body_and_an_unknown_coding_are_faults() {
        let whole = gzip(TEXT);
        for cut in 2..whole.len() {
            assert_eq!(decode("gzip", &whole[..cut], 7, 1000), Err(BackendFault::Cut), "cut at {cut}");
        }
        assert_eq!(decode("gzip", TEXT, 7, 1000), Err(BackendFault::Garbage));
        for (coding, named) in [
            ("br", "br"),
            ("ZSTD", "zstd"),
            ("compress", "compress"),
            ("gzip, gzip", "several codings"),
            ("aes", "a coding without a known name"),
        ] {
            assert_eq!(decode(coding, TEXT, 7, 1000), Err(BackendFault::Encoded(named)));
        }
    }
}
