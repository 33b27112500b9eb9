from pathlib import Path

from webhook.worker.run_log import RunLog


def test_a_log_never_grows_beyond_its_limit_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "run.log"
    for _ in range(2):
        with RunLog(path, limit=1000) as log:
            for number in range(100):
                log.write(f"line {number} " + "x" * number)
    assert path.stat().st_size < 1000 + 100
    text = path.read_text()
    assert "line 0" in text and text.count("The rest is left out") == 1
    with RunLog(path, limit=1000) as log:
        log.write("no more")
        log.write_always("Ended: success")
    assert "no more" not in path.read_text() and path.read_text().endswith("Ended: success\n")


def test_lines_of_several_attempts_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    for text in ("first", "second"):
        with RunLog(path, limit=1000) as log:
            log.write(text)
    assert [line.split("  ")[1] for line in path.read_text().splitlines()] == ["first", "second"]
