//! The Earley chart of one answer, with the cost from each of its sets to the end.

use llguidance::HashMap;
use llguidance::derivre::StateID;
use llguidance::earley::lexerspec::LexemeIdx;

use super::NEVER;
use super::lexemes::Lexemes;
use super::productions::{Productions, sum};

/// Most items of a set. llguidance allows 2,000.
const ITEMS_MAX: usize = 20_000;
/// Most items of an answer.
const ALL_ITEMS_MAX: usize = 4_000_000;

/// A place in a rule, and the set in which the rule began.
type Item = (u32, u32);

/// The items after some lexemes of the answer.
#[derive(Debug)]
struct Row {
    items: Vec<Item>,
    /// What the answer needs once a symbol that begins here is complete.
    after: HashMap<u32, u32>,
    /// The lexemes that may come next, and what the answer needs after them.
    lexemes: Vec<(u32, u32)>,
    /// Whether the answer may end here.
    is_end: bool,
}

impl Row {
    /// Returns the lexer's state here.
    fn start(&self, lexemes: &mut Lexemes) -> StateID {
        lexemes.start(self.lexemes.iter().map(|(lexeme, _)| *lexeme))
    }
}

/// All sets so far, and the lexeme that has begun.
#[derive(Debug)]
pub(super) struct Chart {
    rows: Vec<Row>,
    items: usize,
    state: StateID,
    /// The bytes of the lexeme that has begun.
    begun: Vec<u8>,
    /// The automaton that `state` belongs to.
    generation: u32,
}

/// A position to go back to.
#[derive(Clone)]
pub(super) struct Mark {
    rows: usize,
    begun: Vec<u8>,
    state: StateID,
    generation: u32,
}

impl Chart {
    /// Returns the chart of an empty text; `None` at a limit.
    pub(super) fn new(productions: &Productions, lexemes: &mut Lexemes) -> Option<Self> {
        let generation = lexemes.generation();
        let mut chart =
            Self { rows: Vec::new(), items: 0, state: StateID::DEAD, begun: Vec::new(), generation };
        let begun = productions.rules(productions.start).iter().map(|rule| (*rule, 0)).collect();
        chart.add(begun, productions, lexemes).then_some(chart)
    }

    pub(super) fn mark(&self) -> Mark {
        let begun = self.begun.clone();
        Mark { rows: self.rows.len(), begun, state: self.state, generation: self.generation }
    }

    pub(super) fn back_to(&mut self, mark: Mark) {
        for row in self.rows.drain(mark.rows..) {
            self.items -= row.items.len();
        }
        (self.state, self.begun, self.generation) = (mark.state, mark.begun, mark.generation);
    }

    /// Finds the lexer's state again if the automaton was begun anew. Returns `false` at a limit.
    pub(super) fn refresh(&mut self, lexemes: &mut Lexemes) -> bool {
        if self.generation == lexemes.generation() {
            return true;
        }
        let Some(row) = self.rows.last() else { return false };
        let mut state = row.start(lexemes);
        for byte in &self.begun {
            let Some(next) = lexemes.transition(state, *byte) else { return false };
            state = next;
        }
        (self.state, self.generation) = (state, lexemes.generation());
        true
    }

    /// Reads bytes. Returns `false` if the grammar does not allow them, or at a limit.
    pub(super) fn read(&mut self, text: &[u8], productions: &Productions, lexemes: &mut Lexemes) -> bool {
        text.iter().all(|byte| self.byte(*byte, productions, lexemes).is_some())
    }

    fn byte(&mut self, byte: u8, productions: &Productions, lexemes: &mut Lexemes) -> Option<()> {
        let mut next = lexemes.transition(self.state, byte)?;
        if next.is_dead() && !self.begun.is_empty() {
            // The lexeme ended before this byte, which begins another.
            self.end_lexeme(self.state, productions, lexemes)?;
            next = lexemes.transition(self.state, byte)?;
        }
        if next.is_dead() {
            return None;
        }
        if next.has_lowest_match() {
            return self.end_lexeme(next, productions, lexemes);
        }
        self.state = next;
        self.begun.push(byte);
        Some(())
    }

    /// Moves on behind the lexemes that end in a state.
    fn end_lexeme(&mut self, state: StateID, productions: &Productions, lexemes: &mut Lexemes) -> Option<()> {
        let ended: Vec<LexemeIdx> = lexemes.ended(state).to_vec();
        let row = self.rows.last()?;
        if ended.iter().any(|lexeme| lexemes.is_skip(*lexeme)) {
            self.state = row.start(lexemes);
            self.begun.clear();
            return Some(());
        }
        let is_ended = |(place, _): &&Item| {
            let symbol = productions.symbol(*place).and_then(|(_, symbol)| symbol.lexeme);
            symbol.is_some_and(|lexeme| ended.contains(&LexemeIdx::new(lexeme as usize)))
        };
        let moved: Vec<Item> =
            row.items.iter().filter(is_ended).map(|(place, origin)| (place + 1, *origin)).collect();
        (!moved.is_empty() && self.add(moved, productions, lexemes)).then_some(())
    }

    /// Ends white space that has begun: whatever comes next may follow it.
    fn end_space(&mut self, lexemes: &mut Lexemes) {
        if !self.begun.is_empty()
            && lexemes.is_in_skip(self.state)
            && let Some(row) = self.rows.last()
        {
            self.state = row.start(lexemes);
            self.begun.clear();
        }
    }

    /// Adds the set that follows from its first items. Returns `false` at a limit.
    fn add(&mut self, first: Vec<Item>, productions: &Productions, lexemes: &mut Lexemes) -> bool {
        let this = self.rows.len() as u32;
        let mut items = Items::default();
        first.into_iter().for_each(|item| items.add(item));
        let mut is_end = false;
        let mut at = 0;
        while let Some((place, origin)) = items.list.get(at).copied() {
            at += 1;
            if items.list.len() > ITEMS_MAX || self.items + items.list.len() > ALL_ITEMS_MAX {
                return false;
            }
            match productions.symbol(place) {
                None => {
                    let complete = productions.of(place);
                    is_end |= complete == productions.start && origin == 0;
                    // A symbol without text was stepped over where it was predicted.
                    if origin != this {
                        for (outer, outer_origin) in &self.rows[origin as usize].items {
                            if productions.symbol(*outer).is_some_and(|(symbol, _)| symbol == complete) {
                                items.add((outer + 1, *outer_origin));
                            }
                        }
                    }
                }
                Some((_, symbol)) if symbol.lexeme.is_some() => {}
                Some((_, symbol)) => {
                    symbol.rules.iter().for_each(|rule| items.add((*rule, this)));
                    if symbol.is_nullable {
                        items.add((place + 1, origin));
                    }
                }
            }
        }
        let items = items.list;
        let is_end = is_end || this == 0 && productions.is_nullable(productions.start);
        let (after, next) = self.costs(&items, productions);
        self.items += items.len();
        let row = Row { items, after, lexemes: next, is_end };
        self.state = row.start(lexemes);
        self.begun.clear();
        self.rows.push(row);
        true
    }

    /// Returns what the answer needs after each symbol, and after each lexeme, that begins at a new set.
    fn costs(&self, items: &[Item], productions: &Productions) -> (HashMap<u32, u32>, Vec<(u32, u32)>) {
        let this = self.rows.len() as u32;
        let mut after: HashMap<u32, u32> = HashMap::default();
        if this == 0 {
            after.insert(productions.start, 0);
        }
        let mut next: Vec<(u32, u32)> = Vec::new();
        // Costs only fall; a round without change is the last.
        let mut is_changed = true;
        while is_changed {
            is_changed = false;
            for (place, origin) in items {
                let Some((index, symbol)) = productions.symbol(*place) else { continue };
                let outer = if *origin == this { &after } else { &self.rows[*origin as usize].after };
                let outer = outer.get(&productions.of(*place)).copied().unwrap_or(NEVER);
                let cost = sum(productions.rest(place + 1), outer);
                if cost == NEVER {
                    continue;
                }
                if let Some(lexeme) = symbol.lexeme {
                    match next.iter_mut().find(|(other, _)| *other == lexeme) {
                        Some((_, known)) => *known = cost.min(*known),
                        None => next.push((lexeme, cost)),
                    }
                } else {
                    let known = after.entry(index).or_insert(NEVER);
                    if cost < *known {
                        *known = cost;
                        is_changed = true;
                    }
                }
            }
        }
        (after, next)
    }

    /// Returns how many bytes the answer needs; `None` if no end is known.
    pub(super) fn distance(&mut self, lexemes: &mut Lexemes) -> Option<u32> {
        self.end_space(lexemes);
        self.cheapest(lexemes).map(|(distance, _)| distance)
    }

    /// Returns the least number of bytes to the end, and the lexeme to go on with; `None` for the lexeme if the answer
    /// may end here.
    fn cheapest(&self, lexemes: &mut Lexemes) -> Option<(u32, Option<u32>)> {
        let row = self.rows.last()?;
        let has_begun = !self.begun.is_empty();
        if !has_begun && row.is_end {
            return Some((0, None));
        }
        let mut best: Option<(u32, Option<u32>)> = None;
        for (lexeme, after) in &row.lexemes {
            let is_worse = best.is_some_and(|(best, _)| best <= *after);
            if is_worse || has_begun && !lexemes.is_possible(self.state, *lexeme) {
                continue;
            }
            let state = if has_begun { lexemes.limited(self.state, *lexeme) } else { lexemes.alone(*lexeme) };
            let Some(distance) = lexemes.distance(state, *lexeme) else { continue };
            let distance = sum(distance, *after);
            if best.is_none_or(|(best, _)| distance < best) {
                best = Some((distance, Some(*lexeme)));
            }
        }
        best
    }

    /// Returns a shortest ending of at most `bytes_max` bytes, and reads it.
    pub(super) fn ending(
        &mut self,
        bytes_max: usize,
        productions: &Productions,
        lexemes: &mut Lexemes,
    ) -> Option<Vec<u8>> {
        let mut ending = Vec::new();
        self.end_space(lexemes);
        loop {
            let (distance, lexeme) = self.cheapest(lexemes)?;
            if distance == 0 {
                return Some(ending);
            }
            if ending.len() + distance as usize > bytes_max {
                return None;
            }
            let lexeme = lexeme?;
            let state = if self.begun.is_empty() {
                lexemes.alone(lexeme)
            } else {
                lexemes.limited(self.state, lexeme)
            };
            let begin = ending.len();
            lexemes.shortest(state, lexeme, &mut ending)?;
            if ending.len() == begin {
                // The lexeme may end here, and only does so with the next one.
                self.end_lexeme(self.state, productions, lexemes)?;
            } else if !self.read(&ending[begin..], productions, lexemes) {
                return None;
            }
        }
    }
}

/// Items in the order in which they were added, each once.
#[derive(Default)]
struct Items {
    list: Vec<Item>,
    known: HashMap<Item, ()>,
}

impl Items {
    fn add(&mut self, item: Item) {
        if self.known.insert(item, ()).is_none() {
            self.list.push(item);
        }
    }
}
