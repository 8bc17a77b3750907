//! Classification without generation: how probable each label is as the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bantam_decode::{LabelScores, LabelTrie, LabelTrieError, ScoreLabelsError};
use bantam_engine::{LoadedAdapter, PrefixScope, RequestBase, RequestError, Score, ScorePath, SubmitError};
use bantam_kernels::PAGE_TOKENS;
use bantam_template::TemplateError;
use bantam_weights::EncodeOptions;
use serde_json::Value;

use crate::backend::now;
use crate::growth::MemorySource;
use crate::model::LocalModel;
use crate::preparing::PrepareError;
use crate::prompt::Talk;

/// Why labels could not be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The prompt was not ready in time, or at all.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The chat template refuses the conversation.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The labels cannot be told apart.
    #[error(transparent)]
    Labels(#[from] LabelTrieError),
    /// The engine does not take the request.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The engine gave up.
    #[error(transparent)]
    Run(#[from] RequestError),
    /// The engine's numbers are not a distribution.
    #[error(transparent)]
    Score(#[from] ScoreLabelsError),
}

impl<A: Send + Sync + 'static> LocalModel<A> {
    /// Returns the exact probability of each label as the whole answer to a conversation, messages as chat templates
    /// want them: the prompt runs once, then all places where labels part in one step. Nothing is sampled.
    pub async fn score_labels(
        self: &Arc<Self>,
        messages: &[Value],
        labels: &[String],
        asked: (Arc<str>, Option<Instant>),
    ) -> Result<LabelScores, LabelError> {
        self.score_labels_with(messages, labels, asked, (None, None, 0)).await
    }

    /// The same with an adapter, or none, with more memory for keys and values where that is needed, and for the owner of
    /// what is computed.
    pub(crate) async fn score_labels_with(
        self: &Arc<Self>,
        messages: &[Value],
        labels: &[String],
        (task, deadline): (Arc<str>, Option<Instant>),
        (adapter, memory, owner): (Option<Arc<LoadedAdapter<A>>>, Option<&MemorySource>, u64),
    ) -> Result<LabelScores, LabelError> {
        let (model, messages, labels) = (Arc::clone(self), messages.to_vec(), labels.to_vec());
        let prepared = self.preparations.run(deadline, move |_| model.prepare_labels(&messages, &labels));
        let (prompt, shared_tokens, trie) = prepared.await?;
        let paths = trie.inner_nodes().into_iter();
        let paths: Vec<_> = paths.map(|node| ScorePath { tokens: node.path, next: node.next }).collect();
        let longest = paths.iter().map(|path| path.tokens.len()).max().unwrap_or(0);
        // A branch has a page of its own from the prompt's last, partial one on.
        self.room_for(prompt.len() + longest + PAGE_TOKENS, memory);
        let scope = PrefixScope { shared_tokens, owner };
        let asked = RequestBase { task, adapter, prompt, deadline, scope };
        let scores = self.scheduler.score(Score { asked, paths })?.await?;
        Ok(trie.score_next(&scores.paths)?)
    }

    fn prepare_labels(
        &self,
        messages: &[Value],
        labels: &[String],
    ) -> Result<(Vec<u32>, usize, LabelTrie), LabelError> {
        let variables = BTreeMap::new();
        let talk = Talk { messages, tools: &[], variables: &variables };
        let prompt = self.prompter.prompt(&self.tokenizer, talk, "", now())?;
        let shared_tokens = self.shared_tokens(&prompt, talk);
        let plain = EncodeOptions { add_special: false, parse_special: false };
        let tokens: Vec<Vec<u32>> = labels.iter().map(|label| self.tokenizer.encode(label, plain)).collect();
        let trie = LabelTrie::new(&tokens, self.table.end_of_sequence().first().copied())?;
        Ok((prompt, shared_tokens, trie))
    }
}
