"""A page that labels texts with one model: label sets, probabilities with their cuts, whole CSV files.

`space.json` beside this file names the model, the limits and the examples. Run it with `python app.py`; it
needs gradio, transformers and torch, and nothing else.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import bars
from batch import ADDED, Refused, label_rows, read_table, texts_of, write_table
from labelling import Judgement, Labeller

HERE = Path(__file__).resolve().parent
# The slider's ends, in log-odds: a cut of 50% becomes 1.8% or 98.2%.
REACH = 4
# What a request may send besides an uploaded file: a text within its limit takes a tenth of it.
REQUEST_BYTES = 1 << 20
# Refused bytes that are still read, so that the sender gets an answer and not a broken connection.
DRAINED_BYTES = 1 << 27
KEPT_S = 3600
PREVIEWED = 8  # rows
LABELS_SHOWN = 400  # characters of a row's labels
NO_FILE = "The first rows of your file appear here."
PROGRESS = gr.Progress()  # as a default argument it tells the page to show one
# names people give a column of texts
TEXT_COLUMNS = ("text", "texts", "sentence", "abstract", "comment", "content", "body", "title")


class Page:
    """What the page does; its parts are in `build`.

    Args:
        labeller: The model.
        settings: Content of space.json.
    """

    def __init__(self, labeller: Labeller, settings: dict[str, Any]) -> None:
        self.labeller, self.settings, self.limits = labeller, settings, settings["limits"]

    def label_text(self, text: str | None, shift: float) -> tuple[str, tuple[str, Any] | None]:
        """Decide one text: what is shown, and what `move` needs."""
        text, most = text or "", self.limits["characters"]
        if len(text) > most:
            return bars.refusal(f"The text has {len(text):,} characters; at most {most:,} are taken."), None
        if not text.strip():
            return bars.refusal("There is no text yet. Type one, or choose an example."), None
        scored = (text, self.labeller.logits(text))
        return self.show(scored, shift), scored

    def move(self, scored: tuple[str, Any] | None, shift: float) -> tuple[str, Any]:
        """Decide again what was scored, with cuts that lie elsewhere."""
        return bars.operating_point(shift), gr.skip() if scored is None else self.show(scored, shift)

    def show(self, scored: tuple[str, Any], shift: float) -> str:
        """The label set of a text that was scored."""
        text, logits = scored
        judged = self.labeller.judge(logits, shift or 0.0)
        return bars.answer(self.labeller.names, judged, self.settings["shown"], text)

    def read_file(self, path: str | None) -> tuple[str, Any, Any]:
        """What an uploaded file holds, and its columns to choose from."""
        if path is None:
            return bars.notice(NO_FILE), gr.update(choices=[], value=None), gr.update(visible=False)
        try:
            table = read_table(path, self.limits)
        except Refused as refused:
            return bars.refusal(str(refused)), gr.update(choices=[], value=None), gr.update(visible=False)
        known = {name.strip().lower(): name for name in table.header}
        chosen = next((known[name] for name in TEXT_COLUMNS if name in known), table.header[0])
        found = f"{bars.count(len(table.rows), 'row')}, {bars.count(len(table.header), 'column')}."
        shown = bars.notice(found) + bars.preview(table.header, table.rows[:PREVIEWED])
        return shown, gr.update(choices=table.header, value=chosen), gr.update(visible=False)

    def label_file(
        self, path: str | None, column: str | None, shift: float, progress: gr.Progress = PROGRESS
    ) -> Iterator[tuple[str, Any]]:
        """Label every row of an uploaded file and offer the result."""
        try:
            if path is None:
                raise Refused("There is no file yet. Choose a CSV file first.")
            table = read_table(path, self.limits)
            texts = texts_of(table, column)
        except Refused as refused:
            yield bars.refusal(str(refused)), gr.update(visible=False)
            return

        def judge(text: str) -> Judgement:
            return self.labeller.judge(self.labeller.logits(text), shift or 0.0)

        rows = list(label_rows(table, progress.tqdm(texts, desc="texts"), self.labeller.names, judge))
        with tempfile.TemporaryDirectory() as folder:
            labelled = Path(folder) / "labelled.csv"
            write_table(labelled, rows)
            # the page copies the file while it takes what is yielded; then ours goes
            yield self.summary(column or "", texts, rows, shift), gr.update(value=str(labelled), visible=True)

    def summary(self, column: str, texts: list[str], rows: list[list[str]], shift: float) -> str:
        """What came out of a file: counts, and the first rows."""
        blank = sum(not text.strip() for text in texts)
        unlabelled = sum(not row[-2] for row in rows[1:]) - blank
        said = [f"<b>{bars.count(len(texts), 'row')} labelled</b>"]
        said += [f"{bars.count(unlabelled, 'text')} without a label"] if unlabelled else []
        said += [f"{bars.count(blank, 'row')} without a text"] if blank else []
        said += ["at another operating point than the stored one"] if shift else []
        head = [column, "labels", "probabilities"]
        shown = [
            [bars.quote(text), *row[-len(ADDED) :]] for text, row in zip(texts[:PREVIEWED], rows[1:], strict=False)
        ]
        return bars.notice(", ".join(said) + ".") + bars.preview(head, shown, most=LABELS_SHOWN)


def build(page: Page) -> gr.Blocks:
    """Lay the page out and wire it."""
    settings, limits = page.settings, page.limits
    with gr.Blocks(title=settings["title"], analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S)) as blocks:
        gr.HTML(headline(settings, len(page.labeller.names)))
        scored = gr.State(None, time_to_live=KEPT_S)
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=300):
                text = gr.Textbox(
                    label="Text",
                    lines=7,
                    max_lines=16,
                    autofocus=True,
                    elem_id="text",
                    info=f"At most {limits['characters']:,} characters. Shift+Enter shows the labels.",
                )
                submit = gr.Button("Show labels", variant="primary", elem_id="submit")
                examples = None
                if settings["examples"]:
                    examples = gr.Examples([[example] for example in settings["examples"]], [text], label="Examples")
            with gr.Column(scale=6, min_width=300):
                with gr.Group(elem_id="operating"):
                    slider = gr.Slider(
                        -REACH,
                        REACH,
                        value=0,
                        step=0.1,
                        label="Operating point: precision ↔ recall",
                        info=SLIDER[page.labeller.has_cuts],
                        interactive=page.labeller.has_cuts,
                        buttons=["reset"],
                        elem_id="slider",
                    )
                    point = gr.HTML(bars.operating_point(0), elem_id="point", visible=page.labeller.has_cuts)
                answer = gr.HTML(bars.notice("The labels of your text appear here."), elem_id="answer")
        gr.HTML(f"<h2>A file of texts</h2>{bars.notice(file_terms(limits))}")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=300):
                file = gr.File(label="CSV file", file_types=[".csv", ".tsv", ".txt"], elem_id="file", height=150)
                column = gr.Dropdown([], label="Column of the text", allow_custom_value=True, elem_id="column")
                start = gr.Button("Label all rows", variant="primary", elem_id="start")
            with gr.Column(scale=6, min_width=300):
                outcome = gr.HTML(bars.notice(NO_FILE), elem_id="outcome")
                download = gr.DownloadButton("Download labelled.csv", visible=False, elem_id="download")
        gr.HTML(colophon(settings))

        shown = {"fn": page.label_text, "inputs": [text, slider], "outputs": [answer, scored]}
        moved = {"fn": page.move, "inputs": [scored, slider], "outputs": [point, answer]}
        moved |= {"show_progress": "hidden", "api_visibility": "private"}
        asked = [submit.click(**shown, api_name="label_text"), text.submit(**shown, api_visibility="private")]
        if examples is not None:
            asked.append(examples.load_input_event.then(**shown, api_visibility="private"))
        for event in asked:  # the slider may have been moved while the model was at work
            event.then(**moved)
        slider.change(**moved, trigger_mode="always_last")
        file.change(page.read_file, [file], [outcome, column, download], api_visibility="private")
        start.click(page.label_file, [file, column, slider], [outcome, download], api_name="label_file")
        blocks.load(js=ANNOUNCE)
    return blocks


# What is said of the slider where the model's rule has no cuts, and where it has.
SLIDER = (
    "This model decides without cuts: there is nothing to move.",
    "Moves all cuts together; 0 is the stored decision.",
)
# What changes is read out when it changes; the parts themselves are drawn by the page's own code.
ANNOUNCE = """() => {
  document.documentElement.lang = "en";
  for (const id of ["answer", "point", "outcome"]) document.getElementById(id)?.setAttribute("aria-live", "polite");
}"""


def headline(settings: dict[str, Any], labels: int) -> str:
    """Title and first sentence."""
    name = bars.escape(settings["title"])
    return f"<h1><bdi>{name}</bdi></h1>{bars.notice(f'A text goes in, those of {labels:,} labels that hold come out.')}"


def file_terms(limits: dict[str, int]) -> str:
    """What a file may be."""
    return (
        f"UTF-8, with column names in the first line; at most {limits['rows']:,} rows, {limits['bytes'] / 1e6:g} MB "
        f"and {limits['characters']:,} characters a text. The result has all its columns and two more: the decided "
        "labels and their probabilities. The slider above holds here too."
    )


def colophon(settings: dict[str, Any]) -> str:
    """How the model decides, which one it is, and its licence."""
    said = "".join(f"<li>{bars.escape(sentence)}</li>" for sentence in settings["decision"])
    at = f" at commit <code>{bars.escape(settings['revision'][:12])}</code>" if settings["revision"] else ""
    terms = f" Licence: {bars.escape(settings['license'])}." if settings["license"] else ""
    return (
        f"<details><summary>How the labels are decided</summary><ul>{said}</ul>"
        f"<p>Model: <code>{bars.escape(settings['model'])}</code>{at}.{terms}</p></details>"
    )


def theme() -> gr.themes.Base:
    """Colours with a contrast of at least 4.5, and fonts of the reader's system: none is fetched from elsewhere."""
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    chosen = gr.themes.Soft(primary_hue="teal", neutral_hue="slate", radius_size="md", **fonts)
    dark = {f"{name}_dark": value for name, value in (THEME | DARK).items()}
    return chosen.set(**THEME, **dark, block_title_padding="0")


# The theme's own labels are teal on mint, with a contrast of 2.
THEME = {
    "body_background_fill": "*neutral_50",
    "block_border_width": "1px",
    "block_border_color": "*neutral_200",
    "block_shadow": "none",
    "block_label_background_fill": "transparent",
    "block_label_text_color": "*neutral_700",
    "block_title_background_fill": "transparent",
    "block_title_text_color": "*neutral_800",
    "block_info_text_color": "*neutral_600",
    "body_text_color_subdued": "*neutral_600",
    "input_border_width": "1px",
    "input_border_color": "*neutral_400",
    "input_shadow": "none",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_text_color": "white",
    "link_text_color": "*primary_700",
    "slider_color": "*primary_600",
}
# The same in the dark, where it differs.
DARK = {
    "body_background_fill": "*neutral_950",
    "block_border_color": "*neutral_700",
    "block_label_text_color": "*neutral_200",
    "block_title_text_color": "*neutral_100",
    "block_info_text_color": "*neutral_300",
    "body_text_color_subdued": "*neutral_300",
    "input_border_color": "*neutral_500",
    "link_text_color": "*primary_300",
    "slider_color": "*primary_400",
}


class RequestLimit:
    """Answers a request that sends more than a text may have; uploads have a limit of their own.

    Args:
        app: What answers all others.
        most: Bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most
        self.refusal = f"The text is too long: a request may send {most:,} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].endswith("/upload"):
            await self.app(scope, receive, send)
            return
        declared = int(dict(scope["headers"]).get(b"content-length", 0))
        if declared > self.most:
            left = min(declared, DRAINED_BYTES)
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message["body"])
            await JSONResponse({"detail": self.refusal}, 413)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise HTTPException(413, self.refusal)
            return message

        await self.app(scope, counted, send)


def main() -> None:
    """Load the model and serve; address and port come from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT."""
    settings = json.loads((HERE / "space.json").read_text(encoding="utf-8"))
    page = Page(Labeller.load(settings["model"], settings["revision"]), settings)
    blocks = build(page).queue(max_size=64)
    blocks.launch(
        theme=theme(),
        css_paths=HERE / "style.css",
        ssr_mode=False,
        state_session_capacity=1000,
        max_file_size=settings["limits"]["bytes"],
        app_kwargs={"middleware": [Middleware(RequestLimit, most=REQUEST_BYTES)]},
        # texts may be private: nothing of them is kept in the browser
        run_history=False,
        footer_links=["gradio", "settings"],
    )


if __name__ == "__main__":
    main()
