"""What is kept of a file: decided by its content, encoded anew, without what a camera wrote beside the picture."""

from __future__ import annotations

import io
import random
import zlib

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from chat.pictures import IMAGE_BYTES, LONGEST_SIDE
from chat.uploads import BadUpload, clean_name, read_upload

# Both are in the palette of 216 colours.
RED, BLUE = (204, 0, 0), (0, 0, 204)


def halves(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    """A picture that is red on the left and blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def kept(content: bytes, name: str = "a.bin") -> tuple[str, Image.Image]:
    """Return the media type and the picture that is kept of a file."""
    upload = read_upload(name, content)
    image = Image.open(io.BytesIO(upload.data))
    assert (upload.kind, image.size) == ("image", (upload.width, upload.height))
    assert Image.MIME[image.format] == upload.media_type
    return upload.media_type, image


def is_near(pixel: tuple[int, ...], colour: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 25 for a, b in zip(pixel[:3], colour, strict=True))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "P"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("WEBP", "RGB"), ("GIF", "P")],
)
def test_each_format_keeps_its_picture_whatever_the_file_is_called(kind, mode):
    for name in ("photo.png", "photo.txt", "photo.exe", ""):
        media_type, image = kept(saved(halves(mode), kind, quality=95), name)
        assert media_type == "image/jpeg"
        assert is_near(image.getpixel((5, 10)), RED)
        assert is_near(image.getpixel((35, 10)), BLUE)


def test_what_shines_through_stays_so_and_what_only_could_is_no_png():
    glass = halves("RGBA")
    media_type, image = kept(saved(glass, "PNG"))
    assert (media_type, image.mode) == ("image/jpeg", "RGB")
    glass.putpixel((0, 0), (0, 0, 0, 0))
    for kind in ("PNG", "WEBP"):
        media_type, image = kept(saved(glass, kind, lossless=True))
        assert (media_type, image.mode, image.getpixel((0, 0))[3]) == ("image/png", "RGBA", 0)
        assert is_near(image.getpixel((5, 10)), RED)


def test_sixteen_bits_of_grey_become_eight():
    grey = Image.new("I;16", (20, 10), 0x8000)
    _, image = kept(saved(grey, "PNG"))
    assert is_near(image.convert("RGB").getpixel((5, 5)), (128, 128, 128))


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_black_and_white_are_taken(mode):
    _, image = kept(saved(Image.new("L", (20, 10), 255).convert(mode), "PNG"))
    assert is_near(image.convert("RGB").getpixel((5, 5)), (255, 255, 255))


def test_of_an_animation_the_first_picture_is_kept():
    frames = [Image.new("RGB", (20, 10), colour) for colour in (RED, BLUE)]
    for kind in ("GIF", "WEBP", "PNG"):
        _, image = kept(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100))
        assert is_near(image.getpixel((5, 5)), RED)
        assert getattr(image, "n_frames", 1) == 1


# --- What is not kept -------------------------------------------------------------------------------------------------

SECRET = b"52.5163 N 13.3777 E, serial 4711"


def with_metadata(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = SECRET.decode(), 6
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"exif": exif, "icc_profile": profile, "comment": SECRET, "xmp": b"<x:xmpmeta>" + SECRET}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", SECRET.decode())
    return saved(halves(), kind, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_profile_and_comments_are_dropped_and_the_picture_stands_upright(kind):
    original = with_metadata(kind)
    assert SECRET in original
    _, image = kept(original)
    assert image.size == (20, 40)
    assert is_near(image.getpixel((10, 5)), RED)
    image.load()
    data = read_upload("a", original).data
    assert not dict(image.getexif())
    assert not {"exif", "icc_profile", "comment", "xmp", "Comment"} & set(image.info)
    for trace in (SECRET, b"Exif", b"ICC_PROFILE", b"xmpmeta", b"iCCP", b"tEXt", b"eXIf"):
        assert trace not in data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_what_follows_the_picture_or_hides_in_it_is_dropped(kind):
    page = b"<script>alert(1)</script><?php system('id') ?>PK\x03\x04"
    data = read_upload("a.html", saved(halves(), kind, comment=page) + page).data
    assert b"script" not in data
    assert b"php" not in data


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_large_pictures_are_made_smaller():
    _, image = kept(saved(halves(size=(6000, 1500)), "JPEG"))
    assert image.size == (LONGEST_SIDE, 512)
    _, image = kept(saved(Image.new("RGB", (5000, 1), RED), "PNG"))
    assert image.size == (LONGEST_SIDE, 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_noise_is_made_to_fit(mode):
    noise = Image.frombytes(mode, (1600, 1200), random.Random(1).randbytes(1600 * 1200 * len(mode)))
    upload = read_upload("noise.png", saved(noise, "PNG"))
    assert len(upload.data) <= IMAGE_BYTES


def png(width: int, height: int, scanlines: bytes = b"") -> bytes:
    """Return a PNG that promises more than it has."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    )


def test_the_limit_is_what_must_be_decoded(settings):
    photo = saved(halves(size=(8000, 6000)), "JPEG")
    assert kept(photo)[1].size == (2048, 1536)
    assert "has too many pixels; up to 20 million" in refusal(saved(Image.new("L", (5000, 4001)), "PNG"))


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_never_decoded(side):
    with pytest.raises(BadUpload, match=r"bomb\.png (has too many pixels|cannot be read)"):
        read_upload("bomb.png", png(side, side, bytes(10_000_000)))


def test_a_gif_whose_frame_is_larger_than_it_says_is_refused(settings):
    small = bytearray(saved(Image.new("P", (10, 10)), "GIF"))
    at = small.index(b"\x2c")
    small[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(BadUpload):
        read_upload("a.gif", bytes(small))


def refusal(content: bytes, name: str = "a.png") -> str:
    with pytest.raises(BadUpload) as refused:
        read_upload(name, content)
    return refused.value.sentence


def test_every_truncation_is_said_or_survived():
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        whole = saved(halves(), kind)
        said = set()
        for length in range(1, len(whole) - 1, 7):
            try:
                read_upload("a.png", whole[:length])
            except BadUpload as refused:
                said.add(refused.sentence.removeprefix("a.png ").split()[0])
        assert said == {"is", "cannot"}


def test_random_damage_is_always_one_sentence():
    dice = random.Random(4)
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        whole = saved(halves(), kind)
        for _ in range(150):
            damaged = bytearray(whole)
            for _ in range(dice.randint(1, 8)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            try:
                upload = read_upload("a.png", bytes(damaged))
            except BadUpload:
                continue
            assert upload.kind == "text" or upload.media_type in ("image/png", "image/jpeg")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG picture"),
        (b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- x --><!DOCTYPE svg><svg:svg/>", "is an SVG picture"),
        (b"%PDF-1.7\n1 0 obj", "is neither"),
        (b"PK\x03\x04\x00\x00", "is neither"),
        (b"MZ\x90\x00", "is neither"),
        (b"a\x00b", "is neither"),
        (b"caf\xe9", "is neither"),
        (b"II*\x00\x08\x00\x00\x00", "is neither"),
        (b"\x00\x00\x00\x20ftypheic", "is neither"),
        (b"\xff\xfea", "is neither"),
        (saved(halves(), "BMP"), "is neither"),
        (saved(halves(), "TIFF"), "is neither"),
        (b"x" * 262_145, "is too long: a text may have 256 KiB"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(content, words):
    assert words in refusal(content)


# --- Texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["Grüße 🦜\n\tx\r\n".encode(), "Grüße 🦜\n\tx\r\n".encode("utf-8-sig"), "Grüße 🦜\n\tx\r\n".encode("utf-16")],
)
def test_text_is_kept_as_utf8_without_its_mark(content):
    upload = read_upload("notes.png", content)
    assert (upload.kind, upload.media_type, upload.width) == ("text", "text/plain", None)
    assert upload.data.decode() == "Grüße 🦜\n\tx\r\n"


def test_html_is_a_text_like_any_other():
    page = b"<!doctype html><html><svg></svg></html>"
    assert read_upload("a.html", page).data == page


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("a\r\nContent-Type: x\x00.txt", "aContent-Type: x.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("", "file"),
        ("/", "file"),
        ("  a.txt ", "a.txt"),
        ("e\u0301.txt", "é.txt"),
        ("x" * 200 + ".txt", "x" * 115 + "….txt"),
        ("x" * 200, "x" * 120),
    ],
)
def test_a_name_is_a_label_and_nothing_else(name, clean):
    assert clean_name(name) == clean
    assert len(clean) <= 120
