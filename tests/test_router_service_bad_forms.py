"""Forms that are malformed, or whose fields are bad: errors in one shape, and the next request is served."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving import app_of, error_of, picture, talking


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b"whatever"),
        ("multipart/form-data; boundary=x", b"no boundary in here"),
        ("multipart/form-data; boundary=x; charset=nonsense", b"--x\r\nA: b\r\n\r\nz\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nz\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=q"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\ncut off',
        ),
    ],
)
def test_a_malformed_multipart_body_is_a_400(content_type: str, content: bytes) -> None:
    with talking(app_of()) as http:
        response = http.post("/v1/answer", content=content, headers={"content-type": content_type})
        assert http.answer().status_code == 200
    assert response.status_code == 400, response.text
    error_of(response)


@pytest.mark.parametrize(("charset", "text"), [("", b"caf\xe9"), ("; charset=utf-8", b"\xff\xfe")])
def test_text_of_a_form_that_is_not_in_its_encoding_is_not_guessed_at(charset: str, text: bytes) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="question"\r\n\r\n'
    media = f"multipart/form-data; boundary=x{charset}"
    with talking(app_of()) as http:
        response = http.post(
            "/v1/answer", content=head + text + b"\r\n--x--\r\n", headers={"content-type": media}
        )
    assert response.status_code == 400
    assert (error_of(response)["code"], error_of(response)["param"]) == ("invalid_text", "question")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"photos/cat.png", "invalid_base64"),  # curl -F image=PATH
        (b"C:\\cat.png", "image_url_unsupported"),
        (b"data:image/png,abc", "invalid_base64"),
        (b"\x89PNG\r\n\x1a\n", "invalid_text"),  # curl -F 'image=<PATH'
    ],
)
def test_a_picture_that_is_no_file_of_a_form_is_told_how_to_be_one(text: bytes, code: str) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    media = {"content-type": "multipart/form-data; boundary=x"}
    with talking(app_of()) as http:
        error = error_of(http.post("/v1/answer", content=head + text + b"\r\n--x--\r\n", headers=media))
    assert (error["code"], error["param"]) == (code, "image")
    assert error["message"].endswith("A picture is sent as a file with a name: with curl, -F image=@PATH.")


@pytest.mark.parametrize(
    ("fields", "files", "code"),
    [
        ({"question": "a"}, {"image": b""}, "image_empty"),
        ({}, {"image": picture()}, "missing_field"),
        ({"question": "a", "scale": "37"}, {"image": picture()}, "invalid_scale"),
        ({"question": "a", "scale": "thirty"}, {"image": picture()}, "invalid_scale"),
        ({"question": "a", "scale": "9" * 30}, {"image": picture()}, "invalid_scale"),
        ({"question": "a", "token_budget": "nan"}, {"image": picture()}, "invalid_token_budget"),
        ({"question": "a", "colour": "b"}, {"image": picture()}, "unknown_field"),
        ({"question": ["a", "b"]}, {"image": picture()}, "duplicate_field"),
        ({"question": "a"}, {"image": b"text"}, "image_format"),
        ({"question": "a", "image": "http://127.0.0.1/"}, {"x": b""}, "unknown_field"),
        ({}, {"image": picture(), "question": b"a file"}, "invalid_type"),
        ({str(i): "x" for i in range(100)}, {"image": picture()}, "invalid_multipart"),
    ],
)
def test_bad_fields_of_a_form_are_a_400(fields: dict[str, Any], files: dict[str, bytes], code: str) -> None:
    with talking(app_of()) as http:
        response = http.post("/v1/answer", data=fields, files=files)
        assert http.answer().status_code == 200
    assert response.status_code == 400, response.text
    assert error_of(response)["code"] == code
