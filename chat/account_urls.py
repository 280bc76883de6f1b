"""The addresses of accounts."""

from __future__ import annotations

from django.urls import path

from chat.views import account

urlpatterns = [
    path("", account.account, name="account"),
    path("sign-in", account.sign_in, name="sign-in"),
    path("sign-up", account.sign_up, name="sign-up"),
    path("sign-out", account.sign_out, name="sign-out"),
    path("sign-out-everywhere", account.sign_out_everywhere, name="sign-out-everywhere"),
    path("password", account.change_password, name="change-password"),
    path("defaults", account.choose_defaults, name="choose-defaults"),
    path("language", account.choose_language, name="choose-language"),
    path("tokens", account.make_token, name="make-token"),
    path("tokens/<uuid:token_id>/revoke", account.revoke_token, name="revoke-token"),
    path("delete", account.delete_account, name="delete-account"),
]
