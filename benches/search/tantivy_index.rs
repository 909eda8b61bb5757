//! tantivy, at its best: one segment, sorted newest first, so that the first 20 of any set are the
//! answer and the walk ends there. Substrings are regular expressions over its words; there is no way
//! to ask for one across words.
//!
//! Words are the same as ours but for marks that are not alphabetic, such as U+FE0F in a keycap: they
//! end a word here and belong to it with us.

use std::path::Path;

use tantivy::collector::Count;
use tantivy::query::{
    BooleanQuery, EnableScoring, PhrasePrefixQuery, PhraseQuery, Query, RegexQuery, TermQuery,
};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::tokenizer::{LowerCaser, SimpleTokenizer, TextAnalyzer};
use tantivy::{
    DocAddress, Index, IndexSettings, IndexSortByField, IndexWriter, Order, Searcher, TERMINATED,
    TantivyDocument, Term, doc,
};

use crate::answer::Answer;
use crate::corpus::Corpus;
use crate::queries::{Ask, LIMIT};

/// An index in one segment.
pub struct Tantivy {
    searcher: Searcher,
    fields: Fields,
    /// Bytes on disk, texts included.
    pub bytes: u64,
}

#[derive(Clone, Copy)]
struct Fields {
    seq: Field,
    originator: Field,
    recipient: Field,
    body: Field,
}

const TOKENIZER: &str = "words";
const WRITER_BYTES: usize = 400 << 20;

impl Tantivy {
    /// Opens what is in a folder, or makes it.
    pub fn open(folder: &Path, corpus: &Corpus, messages: usize) -> tantivy::Result<Self> {
        let (place, done) = (folder.join("tantivy"), folder.join("tantivy.done"));
        let (schema, fields) = schema();
        if !done.exists() {
            drop(std::fs::remove_dir_all(&place));
            std::fs::create_dir_all(&place)?;
            build(&place, &schema, fields, corpus, messages)?;
            std::fs::write(&done, "")?;
        }
        let index = Index::open_in_dir(&place)?;
        register(&index);
        let searcher = index.reader()?.searcher();
        assert_eq!(searcher.segment_readers().len(), 1, "tantivy has one segment");
        let mut bytes = 0;
        for entry in std::fs::read_dir(&place)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(Tantivy { searcher, fields, bytes })
    }

    /// Whether there is an index for such a question: there is none for pieces across words.
    pub fn can(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Piece(piece) => piece.len() >= 3 && piece.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            _ => true,
        }
    }

    /// Answers a search.
    pub fn ask(&self, ask: &Ask) -> tantivy::Result<Answer> {
        let Fields { originator, recipient, body, .. } = self.fields;
        match ask {
            Ask::Words(words) => self.page(self.all(words).as_ref()),
            Ask::Prefix(start) => {
                let mut query = PhrasePrefixQuery::new(vec![Term::from_field_text(body, start)]);
                query.set_max_expansions(u32::MAX);
                self.page(&query)
            }
            Ask::Phrase(words) => {
                let terms = words.iter().map(|word| Term::from_field_text(body, word));
                self.page(&PhraseQuery::new(terms.collect()))
            }
            Ask::Piece(piece) => self.page(&RegexQuery::from_pattern(&format!(".*{piece}.*"), body)?),
            Ask::To(name, word) => {
                self.page(&BooleanQuery::intersection(vec![term(recipient, name), term(body, word)]))
            }
            Ask::From(name, word) => {
                self.page(&BooleanQuery::intersection(vec![term(originator, name), term(body, word)]))
            }
            Ask::Count(words) => {
                let total = self.searcher.search(self.all(words).as_ref(), &Count)?;
                Ok(Answer { total: Some(total as u64), ..Answer::default() })
            }
        }
    }

    fn all(&self, words: &[String]) -> Box<dyn Query> {
        match words {
            [word] => term(self.fields.body, word),
            _ => {
                let terms = words.iter().map(|word| term(self.fields.body, word));
                Box::new(BooleanQuery::intersection(terms.collect()))
            }
        }
    }

    /// The first documents of the set: no scores, no sorting.
    fn page(&self, query: &dyn Query) -> tantivy::Result<Answer> {
        let weight = query.weight(EnableScoring::disabled_from_searcher(&self.searcher))?;
        let mut matches = weight.scorer(self.searcher.segment_reader(0), 1.0)?;
        let mut answer = Answer::default();
        let mut next = matches.doc();
        while next != TERMINATED && answer.found.len() < LIMIT {
            let document: TantivyDocument = self.searcher.doc(DocAddress::new(0, next))?;
            let seq = document.get_first(self.fields.seq).and_then(|value| value.as_u64()).unwrap_or(0);
            answer.found.push(usize::try_from(seq).unwrap_or(0));
            for field in [self.fields.originator, self.fields.recipient, self.fields.body] {
                answer.bytes +=
                    document.get_first(field).and_then(|value| value.as_str()).map_or(0, str::len);
            }
            next = matches.advance();
        }
        Ok(answer)
    }
}

fn term(field: Field, word: &str) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_text(field, word), IndexRecordOption::Basic))
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let words = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let fields = Fields {
        seq: schema.add_u64_field("seq", FAST | STORED),
        originator: schema.add_text_field("originator", STRING | STORED),
        recipient: schema.add_text_field("recipient", STRING | STORED),
        body: schema.add_text_field("body", TextOptions::default().set_indexing_options(words).set_stored()),
    };
    (schema.build(), fields)
}

fn register(index: &Index) {
    // Unlike the default, no word is left out for its length.
    let words = TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).build();
    index.tokenizers().register(TOKENIZER, words);
}

fn build(
    place: &Path,
    schema: &Schema,
    fields: Fields,
    corpus: &Corpus,
    messages: usize,
) -> tantivy::Result<()> {
    let newest_first = IndexSortByField { field: "seq".to_owned(), order: Order::Desc };
    let settings = IndexSettings { sort_by_field: Some(newest_first), ..IndexSettings::default() };
    let index = Index::builder().schema(schema.clone()).settings(settings).create_in_dir(place)?;
    register(&index);
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES)?;
    for number in 0..messages {
        let message = corpus.message(number);
        writer.add_document(doc!(
            fields.seq => number as u64,
            fields.originator => message.originator,
            fields.recipient => message.recipient,
            fields.body => message.body,
        ))?;
    }
    writer.commit()?;
    let segments = index.searchable_segment_ids()?;
    if segments.len() > 1 {
        writer.merge(&segments).wait()?;
    }
    writer.garbage_collect_files().wait()?;
    writer.wait_merging_threads()
}
