"""The words that matter: of whoever asks about an attack, and of the languages that attacks are written in."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Of whoever asks, explains, complains or wants help, in the languages that people write here.
ASKING = _words(
    """
    what what's whats why how how's when where which whose whether explain explains explained explaining
    describe meaning means mean difference differences between does doesn't doesnt did didn't isn't aren't can't
    cannot could should would understand prevent prevents preventing protect avoid detect mitigate sanitize
    sanitise considered called supposed equivalent instead summarize summarise rewrite refactor translate tried
    trying wondering trick tricks works wie warum wieso weshalb wozu welche welcher welches erkläre erklär
    erklären bedeutet heißt unterschied verstehe funktioniert verhindern bitte quoi pourquoi comment quel quelle
    quels quelles expliquer explique expliquez signifie différence empêcher éviter qué por cómo cuál cuáles
    explica explicar explícame significa diferencia evitar prevenir funciona perché cosa spiega spiegami
    spiegare differenza evitare porquê diferença wat waarom hoe welke uitleggen betekent verschil varför hur
    förklara betyder skillnad hvad hvorfor hvordan forklar forskel hva mitä miksi miten selitä tarkoittaa
    dlaczego jak wyjaśnij znaczy oznacza różnica działa proč vysvětli znamená rozdíl miért hogyan magyarázd
    jelent különbség explică înseamnă diferența neden nasıl açıkla fark mengapa bagaimana jelaskan artinya
    perbedaan tại sao giải thích nghĩa что почему как зачем какой какая какие объясни объясните значит означает
    разница делает работает защититься що чому як поясни означає різниця какво защо обясни τι γιατί πώς εξήγησε
    σημαίνει διαφορά מה למה מדוע איך כיצד הסבר תסביר הסברי משמעות הבדל עושה עובד ما ماذا لماذا كيف اشرح شرح معنى
    يعني الفرق هل چرا چیست چگونه توضیح یعنی کیا کیوں کیسے क्या क्यों कैसे समझाओ समझाइए मतलब अंतर কি কী কেন
    কিভাবে ব্যাখ্যা என்ன ஏன் எப்படி விளக்கு
    """
)
# What such talk is about. One of these beside an attack is a label, not yet a sentence.
TOPICS = _words(
    """
    vulnerable vulnerability vulnerabilities dangerous harmful safe unsafe secure insecure attack attacks
    attacker attackers injection exploit payload payloads xss sqli csrf owasp sanitizer escaping example
    question error errors warning wrong broken problem issue bug debug fix help review snippet tutorial lesson
    fehler beispiel gefährlich sicher angriff hilfe erreur exemple dangereux attaque aide ejemplo peligroso
    ataque ayuda errore esempio pericoloso attacco aiuto erro exemplo perigoso ajuda fout voorbeeld aanval fel
    exempel farligt błąd przykład atak chyba příklad útok hiba példa eroare exemplu hata örnek kesalahan contoh
    ошибка помощь пример опасно атака помилка приклад грешка λάθος שגיאה עזרה דוגמה מסוכן התקפה خطأ مساعدة مثال
    خطير هجوم خطا गलती त्रुटि उदाहरण
    """
)
# Commands that look round, fetch, call back or destroy, and are no words of a language. What developers chain all day
# (git, make, npm, apt, docker, cd) is missing on purpose: `cd build && make` is not an attack.
ATTACKING = _words(
    """
    rm rmdir del curl wget nc ncat netcat whoami ls uname ifconfig ipconfig nslookup bash sh zsh ksh csh tcsh
    dash powershell pwsh cmd systeminfo tasklist taskkill netstat chmod chown useradd adduser passwd killall
    pkill reboot poweroff dd tac xxd base64 crontab telnet scp tftp socat mkfifo mknod certutil bitsadmin wmic
    regsvr32 rundll32 mshta cscript wscript busybox printenv lsof nmap mysqldump pwd hostname ps tree netsh
    sysinfo gawk strings uptime iptables vssadmin
    """
)
# Of them, and of what only speaks, those that are the second half of a title or one of a list: `house & tree`.
TITLED = _words(
    """
    tree strings ps dash bash curl del tac uptime echo
    """
)
# Commands that are also words, or that honest lines are full of: they count only with what follows in an attack.
COMMON = _words(
    """
    cat head tail more less nl sort type dir find grep egrep touch kill sleep ping ping6 dig host env set id w
    who last date df mount history exec eval timeout nohup xargs tee cp mv ln file at start copy move format
    shutdown halt ftp openssl sed cut od rev fold diff tar zip export init wall write test read groups finger
    man vi vim nano ed ex split join paste uniq base32 hd awk ssh
    """
)
# Of them, what says enough without an argument, in front of another separator or the end.
ALONE = _words(
    """
    id w who env set date dir df last ver mount groups history halt shutdown export
    """
)
# What a developer chains; in front of a separator it is the command that the next one follows.
USUAL = _words(
    """
    cd mkdir apt apt-get npm npx pip cargo go yarn brew dnf yum cmake make gcc git docker python java echo sudo
    command rsync
    """
)
# What is written as an argument more often than in a sentence.
NAMES = _words(
    """
    hello test foo bar root user password localhost evil attacker exe txt etc import exit if
    """
)
COMMANDS = frozenset([*ATTACKING, *COMMON, *USUAL, *NAMES])
# Of pages and scripts.
SCRIPT = _words(
    """
    script javascript alert prompt confirm document cookie location href src onerror onload svg img body iframe
    eval export async await import from default class extends render props key value type query fragment html
    keyframes background url style window function var let const return true false null new this hello world xss
    click me clickme test
    """
)
# Of queries.
SQL = _words(
    """
    select from where and or not union all insert into values update set delete drop table database users user
    admin password username null like order by group having limit exec shutdown waitfor delay case when else
    exists sleep information_schema tables schema version char concat root id name email true false between
    replace function procedure returns language int integer varchar text role with master immediate column
    members top copy backup handler open read call offset hacker login sa distinct count cast xor create alter
    truncate join asc desc declare begin commit test foo bar x
    """
)
# Of requests for files.
REQUESTS = _words(
    """
    get post http file path test cat type open read show
    """
)
