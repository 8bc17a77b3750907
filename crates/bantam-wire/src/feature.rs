//! What a call may ask for, as one closed list.
//!
//! Every backend says of each feature whether it honours it (see [`crate::support`]). The tables match on this list
//! without a wildcard, so a new feature does not compile until every backend has decided about it.

/// Declares the closed list of features with their names.
macro_rules! features {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// Something that a call may ask for, beyond a plain answer to plain text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Feature {
            $($(#[$doc])* $variant,)*
        }

        impl Feature {
            /// All features. The first that a backend cannot honour is the one that callers are told about.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the feature's name: that of OpenAI's parameter if there is one. Callers of another dialect
            /// read the name that their dialect has for it, see [`crate::Endpoint::param`].
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

features! {
    /// A conversation to continue.
    Chat = "messages";
    /// A text to continue.
    Text = "prompt";
    /// Vectors of texts.
    Embeddings = "input";
    /// Images among the messages.
    Images = "images";
    /// Audio among the messages.
    AudioInput = "audio input";
    /// Files among the messages.
    Files = "files";
    /// Message parts of a kind that is not known here.
    OtherParts = "other content";
    /// Earlier tool calls of a kind other than a function's.
    OtherToolCalls = "other tool calls";
    /// Earlier calls, and their results, in OpenAI's older form.
    OlderToolCalls = "messages[].function_call";
    /// Names that tell speakers of the same role apart.
    SpeakerName = "messages[].name";
    /// Sources of an earlier answer.
    Annotations = "messages[].annotations";
    /// What a model thought before an earlier answer, as text.
    Reasoning = "messages[].reasoning_content";
    /// What a model thought before an earlier answer, signed by its provider.
    ThinkingBlocks = "messages[].thinking_blocks";
    /// How closely to look at an image.
    ImageDetail = "image_url.detail";
    /// Marks of where a prefix ends that the provider shall keep.
    CacheMarks = "cache_control";
    /// Members of messages that are not known here.
    OtherMembers = "other members";
    /// More than one answer.
    Answers = "n";
    /// A limit of the answer's tokens.
    OutputLimit = "max_completion_tokens";
    /// The answer as a stream.
    Stream = "stream";
    /// A stream that ends with its token counts.
    StreamUsage = "stream_options";
    /// Sampling temperature.
    Temperature = "temperature";
    /// Nucleus sampling.
    TopP = "top_p";
    /// Strings that end the answer.
    Stop = "stop";
    /// A penalty on tokens that are already there.
    PresencePenalty = "presence_penalty";
    /// A penalty on frequent tokens.
    FrequencyPenalty = "frequency_penalty";
    /// A bias of single tokens.
    LogitBias = "logit_bias";
    /// A seed of the sampler.
    Seed = "seed";
    /// Log-probabilities of the answer's tokens.
    LogProbabilities = "logprobs";
    /// The likeliest alternatives of each token.
    Alternatives = "top_logprobs";
    /// An answer that is JSON, or JSON of a schema.
    AnswerForm = "response_format";
    /// Tools that the model may call.
    Tools = "tools";
    /// Tools whose arguments must keep to their schema.
    StrictTools = "tools[].function.strict";
    /// Members of tools that are not known here.
    OtherToolMembers = "other members of tools";
    /// Whether the model must call a tool, and which.
    ToolChoice = "tool_choice";
    /// At most one tool call in an answer.
    SingleToolCall = "parallel_tool_calls";
    /// Tools in OpenAI's older form.
    Functions = "functions";
    /// The choice of a tool in OpenAI's older form.
    FunctionChoice = "function_call";
    /// How much to reason before answering.
    ReasoningEffort = "reasoning_effort";
    /// How wordy the answer is.
    Verbosity = "verbosity";
    /// Answers that are not only text.
    Modalities = "modalities";
    /// The voice and format of a spoken answer.
    AudioOutput = "audio";
    /// Text that the answer will mostly repeat.
    Prediction = "prediction";
    /// A web search before the answer.
    WebSearch = "web_search_options";
    /// The text behind the gap that is to be filled.
    Suffix = "suffix";
    /// The prompt repeated before its continuation.
    Echo = "echo";
    /// The best of more answers than are returned.
    BestOf = "best_of";
    /// How vectors are written.
    EncodingFormat = "encoding_format";
    /// How many numbers a vector has.
    Dimensions = "dimensions";
    /// The caller's end user.
    User = "user";
    /// The caller's end user, for the provider's detection of abuse.
    SafetyIdentifier = "safety_identifier";
    /// Tags of a stored answer.
    Metadata = "metadata";
    /// Storing the answer at the provider.
    Store = "store";
    /// The provider's queue.
    ServiceTier = "service_tier";
    /// Which of the provider's caches to look in.
    CacheKey = "prompt_cache_key";
    /// How long the provider keeps its cache.
    CacheRetention = "prompt_cache_retention";
    /// How the provider keeps its cache.
    CacheOptions = "prompt_cache_options";
    /// A check of the prompt and the answer by another model of the provider.
    Moderation = "moderation";
    /// Parameters that are no part of the API, and that an upstream lists.
    VendorFields = "other parameters";
}

/// A set of features.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct FeatureSet(u64);

// A set is one word, so that planning tests a call in a few instructions.
const _: () = assert!(Feature::ALL.len() <= 64);

impl FeatureSet {
    /// Adds `feature`.
    pub const fn insert(&mut self, feature: Feature) {
        self.0 |= 1 << feature as u32;
    }

    /// Returns whether `feature` is in the set.
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u32) != 0
    }

    /// Returns the features in the order of [`Feature::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let feature = Feature::ALL.get(rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(*feature)
        })
    }
}

impl FromIterator<Feature> for FeatureSet {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        let mut set = Self::default();
        features.into_iter().for_each(|feature| set.insert(feature));
        set
    }
}

impl std::fmt::Debug for FeatureSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_lists_it_in_order() {
        let set: FeatureSet = [Feature::Seed, Feature::Chat, Feature::CacheRetention].into_iter().collect();
        assert!(set.contains(Feature::Seed) && !set.contains(Feature::Stop));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Feature::Chat, Feature::Seed, Feature::CacheRetention]);
        assert_eq!(FeatureSet::default().iter().count(), 0);
        let all: FeatureSet = Feature::ALL.iter().copied().collect();
        assert_eq!(all.iter().count(), Feature::ALL.len());
    }

    #[test]
    fn no_two_features_have_the_same_name() {
        let mut names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Feature::ALL.len());
    }
}
