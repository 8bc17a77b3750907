"""README and the book work as printed: every shell block runs, in the order of its page, in an empty home folder."""

import pytest

import documents
from gateway import ROOT

PAGES = documents.pages()


def name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def home(tmp_path):
    made = documents.Home(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in PAGES if documents.is_run(page)], ids=name)
def test_the_blocks_of_a_page_run_as_printed(page, home):
    home.follow(page)


def unrun():
    for page in PAGES:
        for step in documents.steps(page):
            if step.kind == "no-run":
                yield pytest.param(step.text, id=f"{name(page)}:{step.line}")


@pytest.mark.parametrize("reason", list(unrun()))
def test_a_block_that_cannot_run_says_why(reason, request):
    assert reason
    pytest.skip(f"{request.node.callspec.id}: {reason}")


def test_a_block_that_fails_fails_its_page(home):
    home.run("export STAYS=1\nkeeps() { echo kept; }\n", "first")
    home.run('test "$STAYS" = 1\nkeeps\n', "second")
    assert home.output == "kept\n"
    home.mark("expect kept", "second")
    with pytest.raises(AssertionError):
        home.mark("expect lost", "second")
    with pytest.raises(AssertionError):
        home.run("false\ntrue\n", "third")
    with pytest.raises(AssertionError):
        home.run("bantam no-such-command\n", "fourth")
