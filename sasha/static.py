"""How static files are named and stored: by the hash of their content, so that browsers may keep them for ever."""

from __future__ import annotations

from servestatic.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Hashed names, also inside stylesheets and in the relative imports of ES modules.

    Before the first `collectstatic` (tests, a fresh checkout) there are no hashes, and files keep their own names.
    """

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        return super().stored_name(name) if self.hashed_files else name
