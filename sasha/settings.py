"""Every setting of the site, and the only module that reads the environment.

Safe by default: production mode, DEBUG off, no secret, no start. `scripts/run` sets local mode.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import shutil
import tomllib
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
env = environ.Env()


def env_secret(name: str) -> str:
    """Return the secret `name`, or what the file named by `name`_FILE holds, or ""."""
    path = env.str(f"{name}_FILE", "")
    return Path(path).read_text().strip() if path else env.str(name, "")


def env_choice(name: str, *choices: str) -> str:
    """Return the variable `name`, which must be one of `choices`; the first is the default."""
    value = env.str(name, choices[0])
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of: {', '.join(choices)}.")
    return value


def env_usd(name: str, default: str) -> Decimal:
    """Return the variable `name`, an amount of US dollars."""
    value = env.str(name, default)
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be an amount such as 0.10.")
    return amount


def env_positive(name: str, default: int) -> int:
    """Return the whole number `name`, which must be above 0."""
    value = env.int(name, default)
    if value <= 0:
        raise ImproperlyConfigured(f"{name} is {value}; it must be above 0.")
    return value


def env_days(name: str, default: int, least: int = 0) -> int:
    """Return the variable `name`, a number of days: 0 for ever, otherwise `least` or more."""
    value = env.int(name, default)
    if value and value < max(least, 1):
        raise ImproperlyConfigured(f"{name} is {value}; it must be 0 for ever, or at least {max(least, 1)}.")
    return value


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Return the secret kept in `path`, made on first use: local mode starts without any configuration."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, and the first one stays: what half a key or a lost one has signed is worth nothing.
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


def make_encryption_key() -> str:
    """Return a new key for ENCRYPTION_KEYS: 32 random bytes in URL-safe base64, as Fernet wants them."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def checked_encryption_keys(text: str) -> list[str]:
    """Return the keys in `text`, with commas or lines between them. Raises ImproperlyConfigured without naming one."""
    keys = text.replace(",", "\n").split()
    for number, key in enumerate(keys, start=1):
        try:
            length = len(base64.urlsafe_b64decode(key))
        except (ValueError, binascii.Error):
            length = 0
        if length != 32:
            raise ImproperlyConfigured(f"Key {number} of ENCRYPTION_KEYS is not 32 bytes in URL-safe base64.")
    return keys


# --- Mode, addresses, secrets -----------------------------------------------------------------------------------------

LOCAL_MODE = env_choice("SASHA_MODE", "production", "local") == "local"
DEBUG = False
HOST = env.str("HOST", "127.0.0.1")
PORT = env_positive("PORT", 8000)
# Holds the SQLite file, the generated secret and the child's configuration; nothing else is written anywhere.
DATA_DIR = Path(env.str("DATA_DIR", str(BASE_DIR / "var"))).resolve()

SECRET_KEY = env_secret("SECRET_KEY")
if not SECRET_KEY and LOCAL_MODE:
    SECRET_KEY = kept_secret(DATA_DIR / "secret_key", lambda: secrets.token_urlsafe(50))
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Set SECRET_KEY or SECRET_KEY_FILE, or use scripts/run for a site on this machine only."
    )

# Encrypt the provider keys that are typed into the admin. The first one writes, all of them read; without one nothing
# can be stored.
ENCRYPTION_KEYS = checked_encryption_keys(env_secret("ENCRYPTION_KEYS"))
if not ENCRYPTION_KEYS and LOCAL_MODE:
    ENCRYPTION_KEYS = [kept_secret(DATA_DIR / "encryption_key", make_encryption_key)]

LOOPBACK_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ALLOWED_HOSTS = LOOPBACK_HOSTS if LOCAL_MODE else env.list("ALLOWED_HOSTS", default=[])
# Full origins (scheme, host, port): a WebSocket whose Origin is not among them gets HTTP 403.
CSRF_TRUSTED_ORIGINS = env.list("ALLOWED_ORIGINS", default=[])
if LOCAL_MODE:
    # Browsers leave the usual port out. What is named on top is a proxy on this machine.
    CSRF_TRUSTED_ORIGINS += [f"http://{host}:{PORT}".removesuffix(":80") for host in LOOPBACK_HOSTS]

# --- Django -----------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "channels",
    "sasha",
    "monitoring",
    "chat",
    "providers",
]
MIDDLEWARE = [
    "monitoring.middleware.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "sasha.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "chat.identity.GuestMiddleware",
    "chat.middleware.AccountMiddleware",
    "sasha.admin_language.EnglishAdminMiddleware",
    "chat.middleware.SignInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "monitoring.acting.ActingMiddleware",
]
ROOT_URLCONF = "sasha.urls"
ASGI_APPLICATION = "sasha.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'sasha.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # A transaction takes the write lock at once: upgrading a read lock later fails without waiting.
        "transaction_mode": "IMMEDIATE",
        # Seconds that a writer waits for the others: only other processes compete, and a busy machine is slow.
        "timeout": 20,
        # Readers do not wait for the writer; a power cut may lose the last commits, never the file.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    # A file, since threads share a database in memory only by locking whole tables.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / f"test-{os.getpid()}.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# A socket is a member of its group until it closes, however many days that takes.
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"group_expiry": 10 * 365 * 86_400}}
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

AUTHENTICATION_BACKENDS = ["chat.backend.AccountBackend"]
LOGIN_URL = "chat:sign-in"
LOGIN_REDIRECT_URL = "chat:new"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("he", "עברית")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Where `collectstatic` puts what is served.
STATIC_ROOT = Path(env.str("STATIC_ROOT", str(BASE_DIR / "staticfiles"))).resolve()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "sasha.static.HashedStaticFilesStorage"},
}

# --- Security ---------------------------------------------------------------------------------------------------------

SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
    "manifest-src": ["'self'"],
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
if not LOCAL_MODE:
    # Local mode is plain HTTP on loopback, where none of this can hold.
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", False) else None
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True

# Everything that is logged goes through one handler, which takes keys out: Django's own mail to the admins and its
# second console are switched off by naming its logger here.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "providers.secrets.RedactingFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["redact"]}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"django": {"level": "INFO"}},
}

# --- Providers --------------------------------------------------------------------------------------------------------

AICHAT_VERSION = "0.30.0"
CACHE_HOME = Path(env.str("XDG_CACHE_HOME", "") or Path.home() / ".cache")
# Found on PATH or where scripts/install-aichat puts it; "" is reported by a system check and by every reply.
AICHAT = (
    env.str("AICHAT", "")
    or shutil.which(
        "aichat",
        path=f"{os.environ.get('PATH', '')}:{CACHE_HOME / 'sasha-studio' / f'aichat-{AICHAT_VERSION}'}",
    )
    or ""
)
# How much of the machine a child sees: `bubblewrap` where the kernel lets it make namespaces. providers/sandbox.py.
AICHAT_SANDBOX = env_choice("AICHAT_SANDBOX", "none", "bubblewrap")
# A proxy through which all requests to providers go, such as one that lets only known hosts through; but for private
# addresses, which are this site's own.
EGRESS_PROXY = env.str("EGRESS_PROXY", "")
# A provider row may name these and nothing else, so that no other secret can be sent to an address.
PROVIDER_KEYS = {name: value for name, value in os.environ.items() if name.endswith("_API_KEY") and value}
# Whether a provider may have an address in a private network or on this machine.
ALLOW_PRIVATE_ADDRESSES = LOCAL_MODE or env.bool("ALLOW_PRIVATE_ADDRESSES", False)
# One file for the child, instead of a folder of hundreds: half its start-up is reading certificates.
CA_BUNDLE = env.str("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
LOCAL_MODEL_PATH = env.str("LOCAL_MODEL_PATH", "")
# The longest answer where a budget applies, in tokens: so much is held back for it.
BUDGET_ANSWER_TOKENS = env_positive("BUDGET_ANSWER_TOKENS", 8192)
# A provider that nobody has asked for so long is asked for the list of its models, which is free. 0: never.
PROVIDER_CHECK_SECONDS = env.int("PROVIDER_CHECK_SECONDS", 900)
# How often each provider is also asked a small question, which costs money; 0: never. And the most a day may cost so.
PROVIDER_LIVE_CHECK_SECONDS = env.int("PROVIDER_LIVE_CHECK_SECONDS", 0)
PROVIDER_LIVE_CHECK_DAILY_USD = env_usd("PROVIDER_LIVE_CHECK_DAILY_USD", "0.10")
# How long a provider that failed is not asked; then one request may try it again.
PROVIDER_MEMORY_SECONDS = env_positive("PROVIDER_MEMORY_SECONDS", 300)

# --- Chat -------------------------------------------------------------------------------------------------------------

# Characters of one message.
CHAT_MESSAGE_LENGTH = env_positive("CHAT_MESSAGE_LENGTH", 32_000)
# Whether people may make accounts for themselves; otherwise an admin does.
CHAT_SIGN_UP = env.bool("CHAT_SIGN_UP", LOCAL_MODE)
# The first admin, made when the server starts and nobody has that name.
ADMIN_USERNAME = env.str("SASHA_ADMIN_USERNAME", "")
ADMIN_PASSWORD = env_secret("SASHA_ADMIN_PASSWORD")
# What happens to a reply when the socket that asked for it closes and its user can come back.
CHAT_ON_CLOSE = env_choice("CHAT_ON_CLOSE", "continue", "stop")
CHAT_SOCKETS_PER_USER = env_positive("CHAT_SOCKETS_PER_USER", 50)
# For how long the next provider is tried as long as there is no text yet.
CHAT_FAILOVER_SECONDS = env_positive("CHAT_FAILOVER_SECONDS", 120)
# Replies with a living process; what comes on top waits.
CHAT_PLACES = env_positive("CHAT_PLACES", 100)
# Messages between the socket and the provider: being stored, or a process starting up. More only slow each other.
CHAT_STARTS_IN_FLIGHT = env_positive("CHAT_STARTS_IN_FLIGHT", 6)
# Messages that may wait, for a place or their turn: on this server, and in one conversation.
CHAT_WAITING = env_positive("CHAT_WAITING", 1000)
CHAT_WAITING_PER_CONVERSATION = env_positive("CHAT_WAITING_PER_CONVERSATION", 20)
# Seconds after SIGTERM in which everything goes on, but /readyz says no: how long a load balancer takes to notice.
DRAIN_SECONDS = env.int("DRAIN_SECONDS", 0)
# Seconds that running replies get to finish then.
CHAT_SHUTDOWN_GRACE = env.int("CHAT_SHUTDOWN_GRACE", 10)
# A reply that nobody waits for any longer than this without a place ends not_started.
CHAT_QUEUE_SECONDS = env_positive("CHAT_QUEUE_SECONDS", 300)
# What may be attached: bytes of a file as it comes, of a text, and of all that a user keeps here; files of one message;
# pixels of an image as it is decoded, one at a time: up to 16 bytes each (a WebP), usually 4. A JPEG of 48 million is
# decoded as one of 12.
CHAT_FILE_BYTES = env_positive("CHAT_FILE_BYTES", 10_000_000)
CHAT_TEXT_FILE_BYTES = env_positive("CHAT_TEXT_FILE_BYTES", 262_144)
CHAT_FILE_BYTES_PER_USER = env_positive("CHAT_FILE_BYTES_PER_USER", 200_000_000)
CHAT_FILES_PER_MESSAGE = env_positive("CHAT_FILES_PER_MESSAGE", 8)
CHAT_IMAGE_PIXELS = env_positive("CHAT_IMAGE_PIXELS", 20_000_000)
# One file and the form round it never touch a disk on their way.
FILE_UPLOAD_MAX_MEMORY_SIZE = CHAT_FILE_BYTES + 65_536
# Whether conversations can be shared by a link under which anybody can read them.
CHAT_SHARING = env.bool("CHAT_SHARING", False)
# The largest file that can be imported; unpacked, each part of an archive may be as large.
CHAT_IMPORT_BYTES = env_positive("CHAT_IMPORT_BYTES", 50_000_000)

# --- Monitoring -------------------------------------------------------------------------------------------------------

# Off: no audit, no samples, no alerts. For measuring what they cost, and for nothing else.
MONITORING = env.bool("MONITORING", True)
# Whether the audit keeps what people and models wrote; otherwise its SHA-256 alone.
AUDIT_TEXTS = env.bool("AUDIT_TEXTS", True)
# What Prometheus shows to read /metrics; without one only local mode has that page.
METRICS_TOKEN = env_secret("METRICS_TOKEN")
# A server whose DATA_DIR has less room than this is not ready.
DISK_FREE_BYTES = env_positive("DISK_FREE_BYTES", 100_000_000)
# Where mail goes out, for alerts; without it none is sent.
MAIL = env.email_url_config(env_secret("EMAIL_URL") or "dummymail://")
EMAIL_BACKEND = MAIL["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = MAIL["EMAIL_HOST"] or "localhost", MAIL["EMAIL_PORT"] or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL["EMAIL_HOST_USER"] or "", MAIL["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.get("EMAIL_USE_TLS", False), MAIL.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("ALERT_FROM", "sasha-studio@localhost")
# How long history is kept, in days; 0 is for ever. Budgets count a month anew from the attempts, so these stay longer.
KEEP_SAMPLES_DAYS = env_days("KEEP_SAMPLES_DAYS", 30)
KEEP_HEALTH_CHECKS_DAYS = env_days("KEEP_HEALTH_CHECKS_DAYS", 90)
KEEP_ALERTS_DAYS = env_days("KEEP_ALERTS_DAYS", 90)
KEEP_ATTEMPTS_DAYS = env_days("KEEP_ATTEMPTS_DAYS", 400, least=62)
KEEP_GUESTS_DAYS = env_days("KEEP_GUESTS_DAYS", 90)
