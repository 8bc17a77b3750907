//! Which of OpenAI's endpoints a request came to.

/// An endpoint whose requests take the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A conversation to go on with.
    Chat,
    /// A text to go on with, or to fill in the middle of.
    Completions,
    /// Texts to vectors.
    Embeddings,
}

impl Endpoint {
    /// Returns the path that callers ask.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// Returns the parameter that holds what is asked. A backend that does not serve the endpoint cannot honour it.
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Chat => "messages",
            Self::Completions => "prompt",
            Self::Embeddings => "input",
        }
    }

    /// Returns the same upstream's path for this endpoint, given the one for chat; `None` where the chat path does not
    /// end in `chat/completions`, before its query.
    pub fn path_beside(self, chat_path: &str) -> Option<String> {
        let (path, query) = chat_path.split_at(chat_path.find('?').unwrap_or(chat_path.len()));
        let folder = path.strip_suffix("chat/completions")?;
        let own = match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        };
        Some(format!("{folder}{own}{query}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstreams_other_paths_stand_beside_its_path_for_chat() {
        let beside = |path: &str| Endpoint::Embeddings.path_beside(path);
        assert_eq!(beside("/chat/completions").as_deref(), Some("/embeddings"));
        let azure = "/openai/deployments/{model}/chat/completions?api-version=1";
        assert_eq!(beside(azure).as_deref(), Some("/openai/deployments/{model}/embeddings?api-version=1"));
        assert_eq!(beside("/generate"), None);
        assert_eq!(
            Endpoint::Completions.path_beside("/v1/chat/completions").as_deref(),
            Some("/v1/completions")
        );
    }
}
