// Pictures side by side in a page, as many pixels as they have.
#pragma once

#include <string>
#include <vector>

#include "compressor/data/image.h"

namespace quench::report {

struct PicturePanels {
  struct Panel {
    std::string caption = {};
    data::Picture picture = {};
  };
  std::string title = {};
  size_t columns = 4;
  std::vector<Panel> panels = {};  // row by row
};

// A <figure> element for Page::figure(). Throws quench::Error for a picture that cannot be encoded.
std::string to_figure(const PicturePanels& plot);

}  // namespace quench::report
