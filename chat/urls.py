"""The addresses of the chat page."""

from __future__ import annotations

from django.urls import include, path

from chat.views import (
    attachments,
    conversations,
    exports,
    help_pages,
    imports,
    manifest,
    messages,
    page,
    search,
    settings,
    shares,
)

app_name = "chat"
urlpatterns = [
    path("", page.new_conversation, name="new"),
    path("c/<uuid:conversation_id>/", page.conversation, name="conversation"),
    path("search", search.search_page, name="search"),
    path("conversations/", conversations.conversation_list, name="conversations"),
    path("conversations/archived/", conversations.conversation_list, {"archived": True}, name="archived"),
    path("c/<uuid:conversation_id>/rename", conversations.rename, name="rename"),
    path("c/<uuid:conversation_id>/pin", conversations.pin, name="pin"),
    path("c/<uuid:conversation_id>/unpin", conversations.unpin, name="unpin"),
    path("c/<uuid:conversation_id>/archive", conversations.archive, name="archive"),
    path("c/<uuid:conversation_id>/unarchive", conversations.unarchive, name="unarchive"),
    path("c/<uuid:conversation_id>/delete", conversations.delete, name="delete"),
    path("c/<uuid:conversation_id>/restore", conversations.restore, name="restore"),
    path("c/<uuid:conversation_id>/sums", page.conversation_sums, name="sums"),
    path("c/<uuid:conversation_id>/export", exports.export_page, name="export"),
    path("c/<uuid:conversation_id>/export.md", exports.export, {"extension": "md"}, name="export-md"),
    path("c/<uuid:conversation_id>/export.txt", exports.export, {"extension": "txt"}, name="export-txt"),
    path("c/<uuid:conversation_id>/export.json", exports.export, {"extension": "json"}, name="export-json"),
    path("manifest.webmanifest", manifest.manifest, name="manifest"),
    path("attachments", attachments.upload, name="upload"),
    path("attachments/<uuid:attachment_id>", attachments.attachment, name="attachment"),
    path("attachments/<uuid:attachment_id>/delete", attachments.delete, name="delete-attachment"),
    path("c/<uuid:conversation_id>/share", shares.make_share, name="share"),
    path("shares", shares.shares, name="shares"),
    path("shares/<uuid:share_id>/revoke", shares.revoke_share, name="revoke-share"),
    path("s/<str:key>", shares.shared, name="shared"),
    path("account/export", exports.everything, name="everything"),
    path("import", imports.import_page, name="import"),
    path("c/<uuid:conversation_id>/settings", settings.conversation_settings, name="settings"),
    path("c/<uuid:conversation_id>/branch", messages.switch_branch, name="branch"),
    path("messages/<uuid:message_id>/text", messages.source, name="source"),
    path("messages/<uuid:message_id>/delete", messages.delete, name="delete_message"),
    path("replies/<uuid:reply_id>/attempts", page.attempts, name="attempts"),
    path("api/", include("chat.api_urls")),
    path("account/", include("chat.account_urls")),
    path("help/connection", help_pages.connection, name="help-connection"),
]
