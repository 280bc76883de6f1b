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
import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from limits import RateLimitItem, parse

from sasha.csp import NONCE

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
env = environ.Env()


# Where secrets were read from: sasha/checks.py looks who else may.
SECRET_FILES: list[Path] = []


def env_secret(name: str) -> str:
    """Return the secret `name`, or what the file named by `name`_FILE holds, or ""."""
    path = env.str(f"{name}_FILE", "")
    if not path:
        return env.str(name, "")
    SECRET_FILES.append(Path(path))
    return Path(path).read_text().strip()


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


def env_rate(name: str, default: str) -> RateLimitItem:
    """Return the variable `name`, how often something may happen: `120/minute`, `20/15 minutes`."""
    value = env.str(name, default)
    try:
        rate = parse(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a rate such as 120/minute.") from None
    if rate.amount <= 0:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must allow at least one.")
    return rate


def env_proxies(name: str) -> int:
    """Return how many proxies of ours are before the server: `true` is one, `false` none."""
    value = env.str(name, "false").lower()
    number = {"true": "1", "false": "0"}.get(value, value)
    if not number.isdecimal():
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be true, false or the number of proxies.")
    return int(number)


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
# What the site writes is read by its user and group alone: in the database sessions lie as they are in cookies.
os.umask(0o027)
# Holds the SQLite file, the generated secret and the child's configuration; nothing else is written anywhere.
DATA_DIR = Path(env.str("DATA_DIR", str(BASE_DIR / "var"))).resolve()

SECRET_KEY = env_secret("SECRET_KEY")
if not SECRET_KEY and LOCAL_MODE:
    SECRET_KEY = kept_secret(DATA_DIR / "secret_key", lambda: secrets.token_urlsafe(50))
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Set SECRET_KEY or SECRET_KEY_FILE, or use scripts/run for a site on this machine only."
    )

# Former secrets: what they have signed still counts, such as cookies and the audit's cuts.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])

# Encrypt the provider keys that are typed into the admin. The first one writes, all of them read; without one nothing
# can be stored.
ENCRYPTION_KEYS = checked_encryption_keys(env_secret("ENCRYPTION_KEYS"))
if not ENCRYPTION_KEYS and LOCAL_MODE:
    ENCRYPTION_KEYS = [kept_secret(DATA_DIR / "encryption_key", make_encryption_key)]

LOOPBACK_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
SITE_HOSTS = [] if LOCAL_MODE else env.list("ALLOWED_HOSTS", default=[])
# A site without a name is for this machine alone, over plain HTTP.
ALLOWED_HOSTS = SITE_HOSTS or LOOPBACK_HOSTS
# How many proxies of ours say, in X-Forwarded-For and X-Forwarded-Proto, whose requests they bring.
PROXIES = 0 if LOCAL_MODE else env_proxies("BEHIND_PROXY")
# Full origins (scheme, host, port): a WebSocket whose Origin is not among them gets HTTP 403.
CSRF_TRUSTED_ORIGINS = env.list("ALLOWED_ORIGINS", default=[])
if not SITE_HOSTS:
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
    "axes",
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
    "chat.middleware.AddressRateMiddleware",
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
    "sasha.request_log.RouteMiddleware",
    # The last, as its documentation wants it.
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "sasha.urls"
ASGI_APPLICATION = "sasha.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader", "sasha.csp.NonceLoader"],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "sasha.csp.csp",
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

# The first says who may try at all, the second whose password it is.
AUTHENTICATION_BACKENDS = ["chat.backend.Doorkeeper", "chat.backend.AccountBackend"]
CSRF_FAILURE_VIEW = "sasha.errors.csrf_failure"
LOGIN_URL = "chat:sign-in"
LOGIN_REDIRECT_URL = "chat:new"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("he", "עברית")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# What `collectstatic` makes, a web server beside the site may read as another user.
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o644, 0o755
# Where it puts what is served.
STATIC_ROOT = Path(env.str("STATIC_ROOT", str(BASE_DIR / "staticfiles"))).resolve()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "sasha.static.HashedStaticFilesStorage"},
}

# --- Security ---------------------------------------------------------------------------------------------------------

# Of every page. The nonce stands for one of its own, made for each response; strict-dynamic lets a script that has it
# import others, from this site alone: sasha/csp.py.
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": [NONCE, "'strict-dynamic'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
    "manifest-src": ["'self'"],
    # No text becomes HTML, but pages of ours in static/js/catchup.js. On the admin's pages, jQuery cannot do without.
    "require-trusted-types-for": ["'script'"],
    "trusted-types": ["own-pages"],
}
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Hours after which somebody signs in again: since they did, and since they were last here.
SESSION_HOURS = env_positive("SESSION_HOURS", 30 * 24)
SESSION_IDLE_HOURS = env_positive("SESSION_IDLE_HOURS", 7 * 24)
SESSION_COOKIE_AGE = SESSION_IDLE_HOURS * 3600
SECURE_HSTS_SECONDS = 0
if not LOCAL_MODE:
    # Local mode is plain HTTP on loopback, where none of this can hold. The prefix makes browsers refuse a cookie that
    # another host of the domain, or a page without TLS, has planted.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", bool(SITE_HOSTS))
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True

# --- How much, how often ----------------------------------------------------------------------------------------------

# Local mode serves one machine's people and tests; there is nobody to be kept from anything.
RATE_LIMITS = env.bool("RATE_LIMITS", not LOCAL_MODE)
# An address is an IPv4 address, or a /64 of IPv6: one customer of a provider. Many people may share one.
RATE_REQUESTS_PER_ADDRESS = env_rate("RATE_REQUESTS_PER_ADDRESS", "3000/minute")
RATE_REQUESTS_PER_USER = env_rate("RATE_REQUESTS_PER_USER", "1200/minute")
RATE_SOCKETS_PER_ADDRESS = env_rate("RATE_SOCKETS_PER_ADDRESS", "600/minute")
RATE_SOCKETS_PER_USER = env_rate("RATE_SOCKETS_PER_USER", "300/minute")
RATE_FRAMES_PER_USER = env_rate("RATE_FRAMES_PER_USER", "1200/minute")
# Of those, how many may be refused: each is kept with its text in the audit. What comes on top is not.
RATE_REFUSALS_PER_USER = env_rate("RATE_REFUSALS_PER_USER", "120/minute")
RATE_MESSAGES_PER_ADDRESS = env_rate("RATE_MESSAGES_PER_ADDRESS", "1200/minute")
RATE_MESSAGES_PER_USER = env_rate("RATE_MESSAGES_PER_USER", "120/minute")
# Fewer, so that no script takes all that its person may send.
RATE_MESSAGES_PER_TOKEN = env_rate("RATE_MESSAGES_PER_TOKEN", "90/minute")
RATE_BAD_TOKENS_PER_ADDRESS = env_rate("RATE_BAD_TOKENS_PER_ADDRESS", "30/minute")
# Whatever the names: who tries one password on many.
RATE_SIGN_INS_PER_ADDRESS = env_rate("RATE_SIGN_INS_PER_ADDRESS", "50/15 minutes")
# Wrong passwords for one name, from wherever: more of them are only slowed, since nobody may lock another out.
RATE_FAILURES_PER_NAME = env_rate("RATE_FAILURES_PER_NAME", "20/15 minutes")
# Wrong current passwords of who is signed in: whoever finds an open session must not find the password through it.
RATE_FAILURES_PER_USER = env_rate("RATE_FAILURES_PER_USER", "10/15 minutes")
RATE_SIGN_UPS_PER_ADDRESS = env_rate("RATE_SIGN_UPS_PER_ADDRESS", "20/hour")
# TCP connections and, among them, WebSockets of this server, and how many of each from one address.
CONNECTIONS = env_positive("CONNECTIONS", 12_000)
CONNECTIONS_PER_ADDRESS = env_positive("CONNECTIONS_PER_ADDRESS", 1500)
CHAT_SOCKETS = env_positive("CHAT_SOCKETS", 10_000)
CHAT_SOCKETS_PER_ADDRESS = env_positive("CHAT_SOCKETS_PER_ADDRESS", 1000)

# One name from one address, however many addresses try the others'.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
# Trying on must not write on.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "chat.rates.network_of_request"
AXES_USERNAME_CALLABLE = "chat.doors.name_tried"
AXES_LOCKOUT_CALLABLE = "chat.doors.refuse_sign_in"
# Who came and went is in the audit.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# --- Logs -------------------------------------------------------------------------------------------------------------

LOG_FORMAT = env_choice("LOG_FORMAT", "auto", "json", "text")
LOG_LEVEL = env_choice("LOG_LEVEL", "info", "debug", "warning", "error").upper()
# What others say in passing is nobody's business: debug is for our own modules.
OTHERS_LEVEL = "INFO" if LOG_LEVEL == "DEBUG" else LOG_LEVEL
LOGGING_CONFIG = "sasha.logs.configure"
# Everything that is logged goes through one handler, which takes keys out: Django's own mail to the admins and its
# consoles are switched off by naming their loggers here.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"queries": {"()": "sasha.logs.QueryFilter"}, "routes": {"()": "sasha.logs.RouteFilter"}},
    "formatters": {
        "line": {
            "()": "sasha.logs.LineFormatter",
            "as_json": LOG_FORMAT == "json" or (LOG_FORMAT == "auto" and not sys.stderr.isatty()),
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": OTHERS_LEVEL},
    "loggers": {
        **{app: {"level": LOG_LEVEL} for app in ("sasha", "monitoring", "chat", "providers")},
        "django": {"level": OTHERS_LEVEL},
        "django.request": {"filters": ["routes"]},
        "django.server": {"level": OTHERS_LEVEL, "propagate": True},
        "axes": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "daphne.server": {"filters": ["queries"]},
    },
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
# So many of them for one user at most: an answer may take minutes, and others come. In local mode all scripts are one.
CHAT_PLACES_PER_USER = env_positive("CHAT_PLACES_PER_USER", max(1, CHAT_PLACES // (2 if LOCAL_MODE else 10)))
# Messages between the socket and the provider: being stored, or a process starting up. More only slow each other.
CHAT_STARTS_IN_FLIGHT = env_positive("CHAT_STARTS_IN_FLIGHT", 6)
# Messages that may wait, for a place or their turn: on this server, of one user, and in one conversation.
CHAT_WAITING = env_positive("CHAT_WAITING", 1000)
CHAT_WAITING_PER_USER = env_positive("CHAT_WAITING_PER_USER", max(1, CHAT_WAITING // 2))
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
# Where the traces of answers go, by OTLP over HTTP; "": nowhere, and nothing of OpenTelemetry is loaded.
OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", "")
