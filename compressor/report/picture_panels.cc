#include "compressor/report/picture_panels.h"

#include <fmt/format.h>

#include "compressor/report/markup.h"

namespace quench::report {

std::string to_figure(const PicturePanels& plot) {
  std::string out = "<figure class=\"plot\">";
  if (!plot.title.empty()) out += fmt::format("<figcaption>{}</figcaption>", escape(plot.title));
  out += fmt::format(R"(<div class="panels" style="--columns:{}">)", plot.columns);
  for (const auto& [caption, picture] : plot.panels) {
    out += fmt::format(R"(<div><img alt="{0}" width="{1}" height="{2}" src="data:image/png;base64,{3}"/>)"
                       R"(<p class="caption">{0}</p></div>)",
                       escape(caption), picture.width, picture.height, base64(data::encode_png(picture, caption)));
  }
  return out + "</div></figure>\n";
}

}  // namespace quench::report
