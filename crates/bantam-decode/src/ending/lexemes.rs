//! The lexer's automaton, and the shortest way from any of its states to the end of a lexeme.

use llguidance::HashMap;
use llguidance::api::ParserLimits;
use llguidance::derivre::{NextByte, StateID};
use llguidance::earley::lexerspec::{LexemeIdx, LexerSpec};
use llguidance::earley::regexvec::{LexemeSet, MatchingLexemes, RegexVec};

use super::{ENDING_BYTES_MAX, EndingsError};

/// Most states of the automaton; each takes about a kilobyte.
const STATES_MAX: usize = 50_000;
/// Most work of the automaton before it is begun anew, in llguidance's units.
const FUEL: u64 = 4_000_000;
/// Most states to visit in one search.
const VISITED_MAX: usize = 20_000;
/// States that a search visits exactly. Beyond that it follows a few states at each distance, so the way that it finds may
/// not be the shortest.
const EXACT_MAX: usize = 1_500;
/// How many it follows then.
const BEAM: usize = 12;

/// Bytes to try before all others, so that made-up text looks plain. 1 comes before 0, and 2 before both: a year that
/// begins with 0 is refused by some readers of dates.
const PREFERRED: &[u8] = b"\"2105436789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:/@+Tt Z}]{[,";

/// The next byte of a shortest way, and its length.
#[derive(Clone, Copy, Debug)]
struct Way {
    distance: u32,
    byte: u8,
}

/// The automaton of a grammar's lexemes.
pub(super) struct Lexemes {
    automaton: RegexVec,
    /// The automaton without states.
    fresh: RegexVec,
    /// How often it was begun anew: then its states have other numbers.
    generation: u32,
    count: usize,
    /// The lexeme of white space between others. JSON does not allow it twice in a row, which matters to no ending.
    skip: Option<LexemeIdx>,
    /// One byte of each class of bytes that the automaton tells apart, in the order of trying.
    bytes: Vec<u8>,
    /// Shortest ways, by states in which only one lexeme is possible.
    ways: HashMap<StateID, Option<Way>>,
    /// Whether a search met a limit.
    pub(super) is_limited: bool,
}

impl Lexemes {
    pub(super) fn new(spec: &LexerSpec) -> Result<Self, EndingsError> {
        let is_plain = !spec.has_stop
            && !spec.has_max_tokens
            && spec.special_token_rx.is_none()
            && spec.lazy_lexemes().is_empty()
            && spec.skip_by_class.len() <= 1;
        if !is_plain {
            return Err(EndingsError::NotSupported);
        }
        let mut limits = ParserLimits { initial_lexer_fuel: FUEL, ..ParserLimits::default() };
        let mut automaton = spec.to_regex_vec(&mut limits).map_err(|_| EndingsError::TooMuchWork)?;
        automaton.set_fuel(FUEL);
        automaton.set_max_states(STATES_MAX);
        let mut is_known = [false; 256];
        let mut bytes = Vec::new();
        for byte in PREFERRED.iter().copied().chain(0..=u8::MAX) {
            let class = automaton.alpha().map(byte);
            if !std::mem::replace(&mut is_known[class], true) {
                bytes.push(byte);
            }
        }
        let skip = spec.skip_by_class.first().copied();
        Ok(Self {
            fresh: automaton.clone(),
            generation: 0,
            automaton,
            count: spec.lexemes.len(),
            skip,
            bytes,
            ways: HashMap::default(),
            is_limited: false,
        })
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Begins the automaton anew if it met a limit. Returns whether it did.
    pub(super) fn renew(&mut self) -> bool {
        if !self.automaton.has_error() {
            return false;
        }
        self.automaton = self.fresh.clone();
        self.ways.clear();
        self.generation = self.generation.wrapping_add(1);
        true
    }

    /// Uses up all work, as many answers do.
    #[cfg(test)]
    pub(super) fn exhaust(&mut self) {
        for lexeme in 0..self.count as u32 {
            let state = self.alone(lexeme);
            for byte in 0..=u8::MAX {
                self.automaton.set_fuel(0);
                self.automaton.transition(state, byte);
            }
        }
        assert!(self.automaton.has_error(), "a transition was not known yet");
    }

    /// Returns the state in which exactly these lexemes, and white space, may begin.
    pub(super) fn start(&mut self, lexemes: impl Iterator<Item = u32>) -> StateID {
        let mut set = LexemeSet::new(self.count);
        lexemes
            .map(|lexeme| LexemeIdx::new(lexeme as usize))
            .chain(self.skip)
            .for_each(|lexeme| set.add(lexeme));
        self.automaton.initial_state(&set)
    }

    /// Returns the state after a byte; `None` at the limit on work.
    pub(super) fn transition(&mut self, state: StateID, byte: u8) -> Option<StateID> {
        let next = self.automaton.transition(state, byte);
        (!self.automaton.has_error()).then_some(next)
    }

    /// Returns the lexemes that end in a state: those that nothing can extend, or all.
    pub(super) fn ended(&self, state: StateID) -> &[LexemeIdx] {
        let description = self.automaton.state_desc(state);
        if state.has_lowest_match() {
            description.lazy_accepting.as_slice()
        } else {
            description.greedy_accepting.as_slice()
        }
    }

    /// Returns whether white space ends in a state.
    pub(super) fn is_in_skip(&self, state: StateID) -> bool {
        self.ended(state).iter().any(|lexeme| self.is_skip(*lexeme))
    }

    pub(super) fn is_skip(&self, lexeme: LexemeIdx) -> bool {
        self.skip == Some(lexeme)
    }

    /// Returns whether a lexeme may still end after a state.
    pub(super) fn is_possible(&self, state: StateID, lexeme: u32) -> bool {
        self.automaton.state_desc(state).possible.contains(LexemeIdx::new(lexeme as usize))
    }

    /// Returns the length of the shortest whole lexeme; `None` if it has no text or is beyond the limits.
    pub(super) fn least(&mut self, lexeme: u32) -> Option<u32> {
        let state = self.alone(lexeme);
        self.distance(state, lexeme).filter(|distance| *distance > 0)
    }

    /// Returns the state in which only this lexeme may begin.
    pub(super) fn alone(&mut self, lexeme: u32) -> StateID {
        let mut set = LexemeSet::new(self.count);
        set.add(LexemeIdx::new(lexeme as usize));
        self.automaton.initial_state(&set)
    }

    /// Returns the state in which the lexeme that has begun must be this one.
    pub(super) fn limited(&mut self, state: StateID, lexeme: u32) -> StateID {
        let mut set = LexemeSet::new(self.count);
        set.add(LexemeIdx::new(lexeme as usize));
        self.automaton.limit_state_to(state, &set)
    }

    /// Returns the shortest distance to the end of a lexeme from a state in which only that lexeme is possible.
    pub(super) fn distance(&mut self, state: StateID, lexeme: u32) -> Option<u32> {
        let lexeme = LexemeIdx::new(lexeme as usize);
        if ends(&self.automaton, state, lexeme) {
            return Some(0);
        }
        if let Some(way) = self.ways.get(&state) {
            return way.map(|way| way.distance);
        }
        let found = self.search(state, lexeme);
        self.ways.entry(state).or_insert(found);
        found.map(|way| way.distance)
    }

    /// Writes the shortest way from a state in which only this lexeme is possible to its end.
    pub(super) fn shortest(&mut self, mut state: StateID, lexeme: u32, text: &mut Vec<u8>) -> Option<()> {
        while self.distance(state, lexeme)? > 0 {
            let way = (*self.ways.get(&state)?)?;
            text.push(way.byte);
            state = self.automaton.transition(state, way.byte);
        }
        Some(())
    }

    /// Searches breadth first, and remembers the ways of all states on the way found.
    fn search(&mut self, start: StateID, lexeme: LexemeIdx) -> Option<Way> {
        let mut search = Search { visited: vec![(start, 0, 0)], seen: HashMap::default(), best: None };
        search.seen.insert(start, ());
        let (mut at, mut depth, mut layer_end) = (0, 0u32, 1);
        let mut beam: Vec<usize> = Vec::new();
        while at < search.visited.len() && depth as usize <= ENDING_BYTES_MAX {
            if at == layer_end {
                depth += 1;
                layer_end = search.visited.len();
                let size = layer_end - at;
                beam.clear();
                if layer_end > EXACT_MAX && size > BEAM {
                    beam.extend((0..BEAM).map(|part| at + part * size / BEAM));
                }
            }
            if search.best.is_some_and(|(_, _, length)| length <= depth + 1) {
                break;
            }
            if search.visited.len() > VISITED_MAX {
                self.is_limited = true;
                break;
            }
            if beam.is_empty() || beam.binary_search(&at).is_ok() {
                self.visit_next(&mut search, at, depth + 1, lexeme)?;
            }
            at += 1;
        }
        self.is_limited |= search.best.is_none() && depth as usize > ENDING_BYTES_MAX;
        let (mut index, mut distance, _) = search.best?;
        while index != 0 {
            let (_, before, byte) = search.visited[index];
            distance += 1;
            self.ways.insert(search.visited[before].0, Some(Way { distance, byte }));
            index = before;
        }
        self.ways.get(&start).copied().flatten()
    }

    /// Visits the states that follow a visited one, at this distance from the start; `None` at the limit.
    fn visit_next(&mut self, search: &mut Search, at: usize, depth: u32, lexeme: LexemeIdx) -> Option<()> {
        let state = search.visited[at].0;
        let forced = match self.automaton.next_byte(state) {
            NextByte::ForcedByte(byte) => Some([byte]),
            _ => None,
        };
        for byte in forced.as_ref().map_or(&self.bytes[..], |forced| &forced[..]) {
            let next = self.automaton.transition(state, *byte);
            if self.automaton.has_error() {
                self.is_limited = true;
                return None;
            }
            if next.is_dead() || search.seen.insert(next, ()).is_some() {
                continue;
            }
            search.visited.push((next, at, *byte));
            let rest = if ends(&self.automaton, next, lexeme) {
                Some(0)
            } else {
                self.ways.get(&next).and_then(|way| way.map(|way| way.distance))
            };
            let Some(rest) = rest else { continue };
            if search.best.is_none_or(|(_, _, best)| depth + rest < best) {
                search.best = Some((search.visited.len() - 1, rest, depth + rest));
            }
        }
        Some(())
    }
}

/// What a search has seen.
struct Search {
    /// Each visited state, the index of the one before it, and the byte between them.
    visited: Vec<(StateID, usize, u8)>,
    seen: HashMap<StateID, ()>,
    /// The last visited state of the best way so far, how far the end is from there, and from the start.
    best: Option<(usize, u32, u32)>,
}

fn ends(automaton: &RegexVec, state: StateID, lexeme: LexemeIdx) -> bool {
    let description = automaton.state_desc(state);
    let contains = |lexemes: &MatchingLexemes| lexemes.contains(lexeme);
    contains(&description.greedy_accepting) || contains(&description.lazy_accepting)
}
