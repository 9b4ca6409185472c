//! The tables `[[spa]]`.

use super::mistakes::ConfigError;
use super::page::page;
use super::site_draft::SiteDraft;
use super::tables::RuleTable;
use crate::config::Application;

impl SiteDraft {
    /// Takes in one table of `[[spa]]`.
    pub(super) fn read_application(&mut self, table: &RuleTable<'_>) -> Result<(), ConfigError> {
        table.check_keys(&["path", "page", "except"])?;
        let path = table.required("path", "the pattern of the paths it is for")?;
        let path = table.parsed("path", &path, str::parse)?;
        let written = table.required("page", "the path of its page, as in \"/app/index.html\"")?;
        let blame = |complaint: &str| written.origin.blame(&table.key("page"), complaint);
        let Some(page) = page(written.text).map_err(|complaint| blame(&complaint))? else {
            return Err(blame("the path is empty, it must name a page"));
        };
        let meaning = "a list of patterns, as in [\"/app/api/**\"]";
        self.settings.spa.push(Application {
            path,
            page,
            except: table.list("except", meaning, str::parse)?,
        });
        Ok(())
    }
}
