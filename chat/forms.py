"""What people type about their accounts, and what is said where it cannot be so."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, UserCreationForm
from django.contrib.auth.models import User
from django.core.validators import MaxLengthValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat import doors
from chat.accounts import is_reserved
from chat.doors import LONGEST_NAME
from chat.history import site_settings
from chat.models import Account, Conversation, Failover
from chat.rates import TooMany

NAME_LENGTH = 60


class SignInForm(AuthenticationForm):
    """Name and password. One sentence for whatever is wrong: it must not tell whether there is such a name."""

    error_messages = {
        "invalid_login": _("The name or the password is wrong."),
        "inactive": _("The name or the password is wrong."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["username"]
        name.label = _("Name")
        # Django only tells the browser.
        name.validators.append(MaxLengthValidator(LONGEST_NAME))

    def clean_username(self) -> str:
        """Return the name as its owner spells it: telephones begin it with a capital letter."""
        name = self.cleaned_data["username"]
        spelt = list(User.objects.filter(username__iexact=name).values_list("username", flat=True)[:2])
        return spelt[0] if len(spelt) == 1 else name


class SignUpForm(UserCreationForm):
    """A new account. What was typed stays when something is wrong with it, but for the passwords."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["username"]
        name.label = _("Name")
        name.widget.attrs["maxlength"] = NAME_LENGTH
        name.help_text = _("Up to 60 letters, digits and @ . + - _")
        self.fields["password2"].label = _("Password again")
        self.fields["password2"].help_text = ""

    def clean_username(self) -> str:
        name = self.cleaned_data["username"]
        if len(name) > NAME_LENGTH:
            raise forms.ValidationError(_("The name has more than 60 characters."))
        if is_reserved(name):
            raise forms.ValidationError(_("This name is kept for the site itself. Choose another."))
        # Looks for the same name in other letters' case, too.
        return super().clean_username()


class ChangePasswordForm(PasswordChangeForm):
    """The old password once, the new one twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The page is not about this alone.
        self.fields["old_password"].widget.attrs.pop("autofocus", None)
        self.fields["old_password"].label = _("Current password")
        self.fields["new_password2"].label = _("New password again")
        self.fields["new_password2"].help_text = ""

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        if not _is_password_of(self.user, password):
            raise forms.ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return password


def _is_password_of(user: User, password: str) -> bool:
    try:
        return doors.is_password_of(user, password)
    except TooMany as refused:
        words = gettext("Too many wrong passwords.")
        raise forms.ValidationError(f"{words} {doors.say_when(refused.retry_after_ms)}") from None


class DefaultsForm(forms.Form):
    """What holds for conversations without a choice of their own."""

    system_prompt = forms.CharField(
        label=_("Instructions for every answer (system prompt)"),
        required=False,
        max_length=8000,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    temperature = forms.FloatField(
        label=_("Temperature"),
        required=False,
        min_value=0,
        max_value=2,
        help_text=_("0 is sober, 2 is wild. Empty: as the site is set up."),
        widget=forms.NumberInput(attrs={"step": "0.1"}),
    )
    max_tokens = forms.IntegerField(
        label=_("Longest answer, in tokens"),
        required=False,
        min_value=1,
        max_value=1_000_000,
        help_text=_("A token is about four letters. Empty: as long as the model can."),
    )

    @classmethod
    def of(cls, account: Account | None) -> DefaultsForm:
        """Return the form with what is stored."""
        if account is None:
            return cls()
        return cls(initial={"system_prompt": account.system_prompt, **account.parameters})

    def parameters(self) -> dict[str, float]:
        """Return the parameters that were given, by the names of Conversation.parameters."""
        given = {name: self.cleaned_data[name] for name in ("temperature", "max_tokens")}
        return {name: value for name, value in given.items() if value is not None}


# What can follow when a provider fails in mid-answer, in the reader's words.
FAILOVERS = {
    Failover.CONTINUE: _("another model continues"),
    Failover.ASK: _("ask me"),
    Failover.OFF: _("leave it as it is"),
}


def list_failovers() -> list[tuple[str, str]]:
    """Return what can be chosen, each with its words; "" is what the site does."""
    usual = FAILOVERS[Failover(site_settings().failover)]
    default = gettext("%(choice)s (default)") % {"choice": usual}
    return [("", default), *((choice.value, str(words)) for choice, words in FAILOVERS.items())]


class ConversationSettingsForm(DefaultsForm):
    """What holds for one conversation; what is left empty is as in the account, or as the site is set up."""

    failover = forms.ChoiceField(label=_("If an answer breaks off"), required=False, choices=list_failovers)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["temperature"].help_text = _("0 is sober, 2 is wild. Empty: as usual.")
        self.fields["max_tokens"].help_text = _("A token is about four letters. Empty: as usual.")
        for name, field in self.fields.items():
            field.widget.attrs["autocomplete"] = "off"
            if field.help_text:
                field.widget.attrs["aria-describedby"] = f"{name}-help"

    @classmethod
    def of_conversation(cls, conversation: Conversation, data: Any = None) -> ConversationSettingsForm:
        """Return the form with what is stored, or with `data` that was posted."""
        stored = {"system_prompt": conversation.system_prompt, "failover": conversation.failover}
        return cls(data, initial={**stored, **conversation.parameters})


class LanguageForm(forms.Form):
    """The language of the pages. Its choices have their own names in all languages."""

    language = forms.ChoiceField(label=_("Language"), choices=lambda: settings.LANGUAGES)


class TokenForm(forms.Form):
    """What a token is for."""

    name = forms.CharField(label=_("What is it for?"), max_length=80)


class DeleteAccountForm(forms.Form):
    """The password, so that nobody does it on an open screen."""

    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        password = self.cleaned_data["password"]
        if not _is_password_of(self.user, password):
            raise forms.ValidationError(_("The password is wrong. Nothing was deleted."))
        return password


class DeleteGuestForm(forms.Form):
    """A guest has no password."""

    sure = forms.BooleanField(
        label=_("Yes, delete everything that I wrote here"),
        error_messages={"required": _("Tick the box first. Nothing was deleted.")},
    )
