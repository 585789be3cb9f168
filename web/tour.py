"""A tour of the page in a real Chromium: what it must do, and the pictures of docs/how-to/serve.md.

python web/tour.py [--chromium /usr/bin/chromium] [--large 2000] [--pictures docs/pictures]

Needs `pip install playwright` and a Chromium, which are no part of the package's extras. Starts a service of its own.
--large: megabytes of a file whose weights must stay in the browser.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from service import Service  # noqa: E402

EXAMPLES = REPOSITORY / "examples"
SECRET = b"SECRET!!"
DESKTOP, PHONE = (1400, 1000), (390, 844)


def large_file(path: Path, megabytes: int) -> None:
    """A chain of fully connected layers with weights of a recognisable pattern; the last bytes of the file are them."""
    width = 4096
    layers = max(megabytes * 1_000_000 // (4 * width * width), 1)
    names = [f"w{k}" for k in range(layers)]
    nodes = [helper.make_node("MatMul", [f"v{k}", name], [f"v{k + 1}"]) for k, name in enumerate(names)]
    ends = [helper.make_tensor_value_info(v, TensorProto.FLOAT, [1, width]) for v in ("v0", f"v{layers}")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    shell = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = SECRET * (width * width * 4 // len(SECRET))

    def field(number: int, size: int) -> bytes:
        out = bytes([number << 3 | 2])
        while size > 0x7F:
            out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
        return out + bytes([size])

    heads = []
    for name in names:
        head = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[width, width]).SerializeToString()
        head += field(9, len(data))
        heads.append(field(5, len(head) + len(data)) + head)
    inner = shell.graph.SerializeToString()
    shell.ClearField("graph")
    with path.open("wb") as file:
        file.write(shell.SerializeToString())
        file.write(field(7, len(inner) + sum(len(head) + len(data) for head in heads)) + inner)
        for head in heads:
            file.write(head)
            file.write(data)


class Tour:
    """One page, and everything that it sent."""

    def __init__(self, browser: Browser, url: str, size: tuple[int, int], dark: bool, token: str = "") -> None:
        self.url = url
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            accept_downloads=True,
        )
        self.page: Page = context.new_page()
        self.sent: list[Request] = []
        self.trouble: list[str] = []
        self.page.on("request", lambda request: self.sent.append(request))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("console", self._heard)
        self.page.goto(url)
        self.page.wait_for_selector(".open.large .chip")

    def _heard(self, message: ConsoleMessage) -> None:
        """What Chromium complains of; that the service refuses a file whose sizes are open is the way to bind them."""
        if message.type == "error" and "status of 422" not in message.text:
            self.trouble.append(message.text)

    def open(self, *files: Path) -> None:
        for file in files:
            before = self.page.locator("section.network").count()
            self.page.set_input_files("input[type=file]", str(file))
            self.page.wait_for_function("n => document.querySelectorAll('section.network').length > n", arg=before)
        self.settle()

    def settle(self) -> None:
        """Until all is answered and drawn."""
        self.page.wait_for_selector(".bars li .number", timeout=60_000)
        self.page.wait_for_selector(".bars li.stale", state="detached", timeout=60_000)
        self.page.wait_for_selector(".slowest tbody tr", timeout=60_000)
        self.page.wait_for_selector(".canvas > p.over", state="detached", timeout=60_000)
        self.page.wait_for_timeout(300)  # transitions

    def latencies(self) -> list[str]:
        return self.page.locator(".bars .number b").all_inner_texts()

    def bodies(self) -> Iterator[bytes]:
        for request in self.sent:
            if (body := request.post_data_buffer) is not None:
                yield gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body


def weights_stay(tour: Tour, megabytes: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.onnx"
        large_file(path, megabytes)
        size = path.stat().st_size
        tour.open(path)
    sent = list(tour.bodies())
    assert sum(map(len, sent)) < 200_000, "only structure is sent"
    assert not any(SECRET[:4] in body or SECRET[4:] in body for body in sent)
    assert not any(request.url.split("/")[2] != tour.url.split("/")[2] for request in tour.sent), "nobody else is asked"
    return f"{size / 1e6:.0f} MB on disk, {max(map(len, sent))} bytes in the largest request"


def sliders_ask_anew(tour: Tour) -> str:
    tour.open(EXAMPLES / "resnet18.onnx")
    before = tour.latencies()
    slider = tour.page.locator(".slider", has_text="batch").locator("input")
    slider.focus()
    for _ in range(3):
        tour.page.keyboard.press("ArrowRight")
    tour.page.wait_for_timeout(400)
    tour.settle()
    assert tour.page.locator(".slider", has_text="batch").locator("output").inner_text() == "8"
    assert tour.latencies() != before
    slider = tour.page.locator(".slider", has_text="image").locator("input")
    slider.focus()
    tour.page.keyboard.press("ArrowLeft")
    tour.page.wait_for_timeout(400)
    tour.settle()
    assert "8 × 3 × 192 × 192" in tour.page.locator("section.network").inner_text()
    return "batch 8, image 192"


def links_show_the_same(tour: Tour) -> str:
    """After sliders_ask_anew: the address has the network, its sizes and the targets."""
    shown, address = tour.latencies(), tour.page.url
    tour.page.goto("about:blank")
    tour.page.goto(address)
    tour.settle()
    assert tour.latencies() == shown
    return f"{len(address)} letters"


def saved_as_json(tour: Tour) -> str:
    with tour.page.expect_download() as download:
        tour.page.get_by_text("Save JSON").click()
    told = json.loads(Path(download.value.path()).read_text())
    (network,) = told["networks"]
    assert network["sizes"]["batch"] == 8
    assert all(estimate["low_ms"] <= estimate["latency_ms"] for estimate in network["estimates"])
    return download.value.suggested_filename


def targets_are_found(tour: Tour) -> str:
    page = tour.page
    page.keyboard.press("Escape")
    page.locator("h2").first.click()
    page.keyboard.press("/")
    page.keyboard.type("openvino")
    page.get_by_text("only these").click()
    tour.settle()
    few = page.locator(".bars li").count()
    page.fill("#search", "")
    page.locator(".chip", has_text="gpu").first.click()
    page.get_by_text("only these").click()
    tour.settle()
    many = page.locator(".bars li").count()
    assert 1 <= few < many
    return f"{few} with OpenVINO, {many} GPUs"


def the_graph_is_walked(tour: Tour) -> str:
    page = tour.page
    page.locator(".canvas canvas").focus()
    page.keyboard.press("ArrowDown")
    first = page.locator(".details h3").inner_text()
    page.keyboard.press("ArrowDown")
    second = page.locator(".details").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".slowest tr[aria-selected=true]").count() == 1
    page.locator(".slowest tbody tr").nth(2).click()
    assert "of the whole" in page.locator(".details").inner_text()
    page.keyboard.press("Escape")
    return f"{first.split()[0]} → {second.split()[0]}"


def bars_have_room(tour: Tour) -> str:
    """On a phone, a tablet and a desk."""
    found = []
    for width in (PHONE[0], 770, 1001, DESKTOP[0]):
        tour.page.set_viewport_size({"width": width, "height": DESKTOP[1]})
        box = tour.page.locator(".bars .track").first.bounding_box()
        assert box is not None
        assert box["width"] > 150, (width, box)
        found.append(f"{box['width']:.0f} of {width}")
    return ", ".join(found)


def what_is_no_network_is_told(tour: Tour) -> str:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(b"PK\x03\x04 a checkpoint")
        file.flush()
        tour.page.set_input_files("input[type=file]", file.name)
        message = tour.page.locator("section.network .problem").inner_text()
    assert "torch.onnx.export" in message
    tour.page.locator("section.network .icon").last.click()
    return message


def sizes_left_open_are_bound(tour: Tour) -> str:
    model = onnx.load(EXAMPLES / "resnet18.onnx")
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "open.onnx"
        onnx.save(model, path)
        tour.open(path)
    assert tour.page.locator(".slider", has_text="side").locator("output").inner_text() == "224"
    return "side 224"


CHECKS: tuple[Callable[[Tour], str], ...] = (
    sliders_ask_anew,
    links_show_the_same,
    saved_as_json,
    the_graph_is_walked,
    targets_are_found,
    bars_have_room,
    what_is_no_network_is_told,
)


def pictures(browser: Browser, url: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, size, dark in (("desktop", DESKTOP, False), ("dark", DESKTOP, True), ("phone", PHONE, False)):
        with touring(browser, url, size, dark) as tour:
            page = tour.page
            if name == "desktop":
                page.screenshot(path=folder / "page-empty.png")
            tour.open(EXAMPLES / "resnet18.onnx")
            if name != "desktop":
                page.screenshot(path=folder / f"page-{name}.png")
                continue
            page.screenshot(path=folder / "page.png")
            page.locator(".slowest tbody tr").nth(2).click()
            page.wait_for_timeout(300)
            page.locator(".kernels").screenshot(path=folder / "page-kernels.png")
            tour.open(EXAMPLES / "mobilenet_v2.onnx")
            page.fill("[aria-label='Limit in milliseconds']", "30")
            page.locator(".results").screenshot(path=folder / "page-compared.png")
            page.locator(".frontier").scroll_into_view_if_needed()
            page.wait_for_selector(".frontier svg", timeout=120_000)
            page.locator(".frontier").screenshot(path=folder / "page-frontier.png")


@contextmanager
def touring(browser: Browser, url: str, size: tuple[int, int] = DESKTOP, dark: bool = False) -> Iterator[Tour]:
    tour = Tour(browser, url, size, dark)
    yield tour
    assert not tour.trouble, tour.trouble
    tour.page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--large", type=int, default=2000, help="MB")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    with Service() as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        with touring(browser, service.url) as tour:
            for check in CHECKS:
                print(f"{check.__name__}: {check(tour)}", flush=True)
        with touring(browser, service.url) as tour:
            print(f"sizes_left_open_are_bound: {sizes_left_open_are_bound(tour)}", flush=True)
        with touring(browser, service.url) as tour:
            print(f"weights_stay: {weights_stay(tour, options.large)}", flush=True)
        if options.pictures:
            pictures(browser, service.url, options.pictures)


if __name__ == "__main__":
    main()
