import { expect, it } from "vitest";
import type { FirstPicture } from "../../bench/first-picture.ts";
import { formatFirstPictures } from "../../bench/report.ts";

it("shows the first picture with its parts, and says when there is none", () => {
  const cold: FirstPicture = {
    width: 320,
    height: 240,
    start: "cold",
    milliseconds: 7000,
    deviceMilliseconds: 210,
    weightsMilliseconds: 4.5,
    compileMilliseconds: 1785.5,
    runMilliseconds: 5000,
    readyMilliseconds: 900,
  };
  const [header = "", row = ""] = formatFirstPictures([cold]).split("\n");
  expect(header.split(/\s{2,}/)).toEqual(["first picture", "ms", "process, device", "weights", "compile, upload", "run", "second picture ms"]);
  expect(row.split(/\s{2,}/)).toEqual(["320×240 cold", "7000", "210", "4.50", "1786", "5000", "900"]);
  expect(formatFirstPictures([])).toContain("left out");
});
