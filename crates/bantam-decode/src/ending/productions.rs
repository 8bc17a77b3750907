//! The rules of a grammar, and what each of their symbols costs at least.

use llguidance::earley::{CGrammar, CSymIdx};

use super::lexemes::Lexemes;
use super::{EndingsError, NEVER};

/// A symbol of the grammar.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbol {
    /// The lexeme of a terminal.
    pub(super) lexeme: Option<u32>,
    /// Whether its text may be empty.
    pub(super) is_nullable: bool,
    /// Where its rules begin.
    pub(super) rules: Vec<u32>,
    /// The bytes that its text has at least.
    least: u32,
}

/// The rules of a grammar, one behind the other.
#[derive(Debug)]
pub(super) struct Productions {
    symbols: Vec<Symbol>,
    /// The symbol at each place; 0 behind the last symbol of a rule.
    at: Vec<u32>,
    /// The symbol whose rule a place belongs to.
    of: Vec<u32>,
    /// The bytes that the rest of the rule has at least, by place.
    rest: Vec<u32>,
    pub(super) start: u32,
}

impl Productions {
    pub(super) fn new(grammar: &CGrammar, lexemes: &mut Lexemes) -> Result<Self, EndingsError> {
        if grammar.parametric() {
            return Err(EndingsError::NotSupported);
        }
        let start = grammar.start().as_index() as u32;
        let mut made = Self { symbols: Vec::new(), at: Vec::new(), of: Vec::new(), rest: Vec::new(), start };
        let mut open = vec![grammar.start()];
        let mut is_known = vec![false];
        while let Some(index) = open.pop() {
            let place = index.as_index();
            if is_known.len() <= place {
                is_known.resize(place + 1, false);
            }
            if std::mem::replace(&mut is_known[place], true) {
                continue;
            }
            if made.symbols.len() <= place {
                made.symbols.resize(place + 1, Symbol::default());
            }
            made.add(grammar, index, lexemes, &mut open)?;
        }
        made.costs();
        if made.symbols[start as usize].least == NEVER {
            let is_limited = lexemes.is_limited;
            return Err(if is_limited { EndingsError::TooMuchWork } else { EndingsError::Endless });
        }
        Ok(made)
    }

    /// Adds a symbol and its rules; the symbols of those are pushed to `open`.
    fn add(
        &mut self,
        grammar: &CGrammar,
        index: CSymIdx,
        lexemes: &mut Lexemes,
        open: &mut Vec<CSymIdx>,
    ) -> Result<(), EndingsError> {
        let data = grammar.sym_data(index);
        if data.gen_grammar.is_some() {
            return Err(EndingsError::NotSupported);
        }
        let lexeme = data.lexeme.map(|lexeme| lexeme.as_usize() as u32);
        let least = match lexeme {
            // A lexeme that no text matches is possible in a grammar: it belongs to an unsatisfiable branch.
            Some(lexeme) => lexemes.least(lexeme).unwrap_or(NEVER),
            None if data.is_nullable => 0,
            None => NEVER,
        };
        let mut rules = Vec::new();
        for rule in &data.rules {
            rules.push(self.at.len() as u32);
            let (symbols, _, _) = grammar.rule_rhs(*rule);
            self.at.extend(symbols.iter().map(|symbol| symbol.as_index() as u32));
            self.at.push(0);
            self.rest.resize(self.at.len() - 1, NEVER);
            self.rest.push(0);
            self.of.resize(self.at.len(), index.as_index() as u32);
            open.extend(symbols);
        }
        self.symbols[index.as_index()] = Symbol { lexeme, is_nullable: data.is_nullable, rules, least };
        Ok(())
    }

    /// Lowers the costs of symbols to those of their cheapest rules until nothing changes. Costs only fall, and each
    /// round settles at least one symbol, as in Knuth's generalisation of Dijkstra's algorithm.
    fn costs(&mut self) {
        let mut is_changed = true;
        while is_changed {
            is_changed = false;
            for symbol in 0..self.symbols.len() {
                for rule in 0..self.symbols[symbol].rules.len() {
                    let cost = self.cost_of_rule(self.symbols[symbol].rules[rule] as usize);
                    if cost < self.symbols[symbol].least {
                        self.symbols[symbol].least = cost;
                        is_changed = true;
                    }
                }
            }
        }
    }

    /// Updates the costs of a rule's places and returns the first.
    fn cost_of_rule(&mut self, rule: usize) -> u32 {
        let length = self.at[rule..].iter().take_while(|symbol| **symbol != 0).count();
        for place in (rule..rule + length).rev() {
            let symbol = &self.symbols[self.at[place] as usize];
            self.rest[place] = sum(symbol.least, self.rest[place + 1]);
        }
        self.rest[rule]
    }

    /// Returns the symbol at a place; `None` behind the last one.
    pub(super) fn symbol(&self, place: u32) -> Option<(u32, &Symbol)> {
        let index = *self.at.get(place as usize)?;
        (index != 0).then(|| (index, &self.symbols[index as usize]))
    }

    /// Returns the symbol whose rule a place belongs to.
    pub(super) fn of(&self, place: u32) -> u32 {
        self.of[place as usize]
    }

    /// Returns the bytes that a rule has at least from a place on.
    pub(super) fn rest(&self, place: u32) -> u32 {
        self.rest[place as usize]
    }

    pub(super) fn is_nullable(&self, symbol: u32) -> bool {
        self.symbols[symbol as usize].is_nullable
    }

    pub(super) fn rules(&self, symbol: u32) -> &[u32] {
        &self.symbols[symbol as usize].rules
    }
}

/// Adds two costs. The sum of possible ones stays possible.
pub(super) fn sum(one: u32, other: u32) -> u32 {
    if one == NEVER || other == NEVER { NEVER } else { one.saturating_add(other).min(NEVER - 1) }
}
